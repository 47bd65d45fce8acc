# Writes the file or directory $1 as a tar stream, with holes as holes. The other
# arguments are paths of files below a directory, or anything where $1 is a file:
# these had less than they said. They are read to their ends first, as are the
# files of the kernel, of which tar believes that they are as long as they say.
check "$1"
path=$1
shift
if [ -d "$path" ] && [ $# -eq 0 ]; then
	case $(stat -f -c %T -- "$path") in
	proc | sysfs | cgroup* | debugfs | tracefs | securityfs) ;;
	*) exec tar -c -S -f - -C "$path" . ;;
	esac
elif ! [ -d "$path" ]; then
	path=$(readlink -f -- "$path" && echo .) || exit 1
	path=${path%?.}
	name=./${path##*/}
	path=${path%/*}/
	if [ $# -eq 0 ] && [ "$(stat -c %b -- "$path$name")" -gt 0 ]; then
		exec tar -c -S -f - -C "$path" "$name"
	fi
	set -- "$name"
fi
temp=$(mktemp -d) || exit 1
trap 'exit 143' TERM
trap 'trap "" TERM; rm -rf -- "$temp"' EXIT # which a TERM would cut short
if [ $# -eq 0 ]; then
	cp -R -p -- "$path/." "$temp/all" && tar -c -f - -C "$temp/all" .
	exit
fi
for name; do
	shift
	[ -f "$path/$name" ] || continue # it has vanished
	mkdir -p -- "$temp/${name%/*}" && cp -p --sparse=always -- "$path/$name" "$temp/$name" || exit 1
	set -- "$@" "$name"
done
[ $# -eq 0 ] || tar -c -S -f - -C "$temp" "$@"
