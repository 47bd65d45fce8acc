# Unpacks a tar stream below the directory $1. Then come, in pairs, what the
# stream holds: d or f, and a path in that directory. As with cp, a directory
# replaces nothing else, and a file neither a directory nor a special file.
dir=$1
shift
while [ $# -gt 0 ]; do
	at=$dir/$2
	case $1 in
	d)
		if ! [ -d "$at" ] && { [ -e "$at" ] || [ -L "$at" ]; }; then
			echo "tar: $2: Cannot mkdir: Not a directory" >&2
			exit 1
		fi
		;;
	f)
		if [ -d "$at" ]; then
			echo "tar: $2: Cannot open: Is a directory" >&2
			exit 1
		fi
		special=$(kind "$at")
		if [ "$special" ]; then
			echo "tar: $2: Cannot replace: $special" >&2
			exit 1
		fi
		;;
	esac
	shift 2
done
mkdir -p -- "$dir" && exec tar -x -p -o --no-overwrite-dir --keep-directory-symlink -f - -C "$dir"
