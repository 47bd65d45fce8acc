# Replaces the file $1, atomically, by its first $2 bytes, standard input and its
# last $3 bytes, $4 bytes in all, and prints the identity of the new file. When
# the old one has not the identity $5 (any, if that is empty), somebody else
# wrote it: status 9.
set -eu
LC_ALL=C
export LC_ALL
identity() { stat -c '%i %s %y' -- "$1"; }
if [ -n "$5" ] && [ "$(identity "$1" 2>/dev/null)" != "$5" ]; then
	exit 9
fi
mkdir -p -- "${1%/*}"
temp=${1%/*}/.${1##*/}.$$
trap 'exit 143' TERM
trap 'trap "" TERM; rm -f -- "$temp"' EXIT # which a TERM would cut short
umask 022
if [ "$2" = 0 ] && [ "$3" = 0 ]; then
	cat >"$temp"
else
	{ head -c "$2" -- "$1" && cat && tail -c "$3" -- "$1"; } >"$temp"
fi
if [ "$(wc -c <"$temp")" -ne "$4" ]; then
	echo "$1: cut off" >&2
	exit 1
fi
made=$(identity "$temp")
mv -f -- "$temp" "$1"
echo "$made"
