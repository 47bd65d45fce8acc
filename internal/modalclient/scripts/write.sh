# Stores standard input in the file $1, atomically: sh -c WRITE seer PATH MODE
# An existing file keeps its owner, and its mode where MODE is empty; a new one
# has mode 644 then. Its other names, if it has any, keep the old content.
path=$1
mode=$2
if [ -L "$path" ]; then
	[ -e "$path" ] || readlink -f -- "$path" >/dev/null || check "$path"
	path=$(readlink -f -- "$path" && echo .) || exit 1
	path=${path%?.}
fi
owner=
if [ -e "$path" ]; then
	check "$path"
	if [ -d "$path" ]; then
		echo "$path: Is a directory" >&2
		exit 1
	fi
	kept=$(stat -c '%a %u:%g' -- "$path") || exit 1
	owner=${kept#* }
	mode=${mode:-${kept% *}}
fi
dir=${path%/*}/
if [ -L "${dir%/}" ]; then
	check "$dir."
fi
if [ -e "$dir." ] || ! [ -e "${dir%/}" ]; then
	mkdir -p -- "$dir" || exit 1
else
	echo "$dir: Not a directory" >&2
	exit 1
fi
temp=.seer-$$-${SEER_EXEC#??????????????????}
trap 'exit 143' TERM
trap 'trap "" TERM; rm -f -- "$dir$temp"' EXIT # which a TERM would cut short
umask 077
exec 3<&0 4>"$dir$temp" || exit 1
# Waited for, not run in front, so that a trap does not wait for it.
cat <&3 >&4 &
wait $! || exit 1
if [ "$owner" ]; then
	chown -- "$owner" "$dir$temp" 2>/dev/null || : # only root may give files away
fi
chmod "${mode:-644}" -- "$dir$temp" && mv -f -- "$dir$temp" "$path"
