# Stores standard input in the file $1, atomically: sh -c WRITE seer PATH MODE
# An empty MODE keeps that of an existing file, else it is 644.
LC_ALL=C
export LC_ALL
path=$1
mode=$2
if [ -L "$path" ]; then
	path=$(readlink -f -- "$path" && echo .) || exit 1
	path=${path%?.}
fi
if [ -d "$path" ]; then
	echo "$path: Is a directory" >&2
	exit 1
fi
dir=${path%/*}/
if [ -e "$dir." ] || ! [ -e "${dir%/}" ]; then
	mkdir -p -- "$dir" || exit 1
else
	echo "$dir: Not a directory" >&2
	exit 1
fi
if [ -z "$mode" ]; then
	mode=$(stat -c %a -- "$path" 2>/dev/null) || mode=644
fi
temp=.seer-$$-${SEER_EXEC#??????????????????}
trap 'exit 143' TERM
trap 'trap "" TERM; rm -f -- "$dir$temp"' EXIT # which a TERM would cut short
umask 077
exec 3<&0 4>"$dir$temp" || exit 1
# Waited for, not run in front, so that a trap does not wait for it.
cat <&3 >&4 &
wait $! && chmod "$mode" -- "$dir$temp" && mv -f -- "$dir$temp" "$path"
