# Prints NUL-separated type, permissions, size, time, name and link target: of
# $2 ($1 = stat, links followed, or lstat) or of each entry of it ($1 = list).
set -e
entry='%y\0%m\0%s\0%T@\0%f\0%l\0'
case $1 in
stat) exec find -L "$2" -maxdepth 0 -printf "$entry" ;;
lstat) exec find -P "$2" -maxdepth 0 -printf "$entry" ;;
esac
[ -d "$2" ] || { echo "$2: Not a directory" >&2; exit 1; }
exec find -H "$2/" -mindepth 1 -maxdepth 1 -printf "$entry"
