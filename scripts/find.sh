# Prints NUL-separated type, permissions, size, time and name: of what $2 is
# ($1 = stat, links followed) or of each entry of that directory ($1 = list).
set -e
if [ "$1" = stat ]; then
	exec find -L "$2" -maxdepth 0 -printf '%y\0%m\0%s\0%T@\0%f\0'
fi
[ -d "$2" ] || { echo "$2: Not a directory" >&2; exit 1; }
exec find -H "$2/" -mindepth 1 -maxdepth 1 -printf '%y\0%m\0%s\0%T@\0%f\0'
