# Writes the file or directory $1 as a tar stream.
LC_ALL=C
export LC_ALL
if [ -d "$1" ]; then
	exec tar -c -f - -C "$1" .
fi
exec tar -c -f - -C "${1%/*}/" "./${1##*/}"
