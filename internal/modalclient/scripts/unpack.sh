# Unpacks a tar stream below the directory $1. The other arguments are files in
# it, of which none replaces a directory; tar would replace an empty one.
LC_ALL=C
export LC_ALL
dir=$1
shift
for file; do
	if [ -d "$dir/$file" ]; then
		echo "tar: $file: Cannot open: Is a directory" >&2
		exit 1
	fi
done
mkdir -p -- "$dir" && exec tar -x -p -o --no-overwrite-dir --keep-directory-symlink -f - -C "$dir"
