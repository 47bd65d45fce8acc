# Becomes a command that carries a mark: sh -c LAUNCH sh SEER_EXEC=ID [own] MODE ...
# After own the command has an environment that no setting of the sandbox reaches.
#   null COMMAND...   with /dev/null for its standard input
#   pipe COMMAND...   with the standard input that there is
#   head              environment and command come first on standard input
#   file PATH         environment and command are in a file, which is removed
# A value is a line with the number of its lines, and these; or, where it is
# large, a line with minus the number of its bytes, and these.
export "$1"
seer_path=${PATH-}
seer_tools=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The sandbox's own command makes it too, and may come a moment later.
[ -d /workspace ] || PATH=$seer_tools mkdir -p /workspace 2>/dev/null || :
seer_own=
if [ "$2" = own ]; then
	seer_own=$1
	shift
fi
case $2 in
null | pipe)
	[ "$2" = pipe ] || exec </dev/null
	shift 2
	if [ "$seer_own" ]; then
		PATH=$seer_tools
		exec env -i "$seer_own" "PATH=$seer_tools:$seer_path" "HOME=${HOME-/}" LC_ALL=C "$@"
	fi
	exec "$@"
	;;
head) exec 3<&0 ;;
file) exec 3<"$3" && PATH=$seer_tools rm -f -- "$3" || exit 125 ;;
esac
PATH=$seer_tools # until everything is read
# seer_next reads a value into the variable $1.
seer_next() {
	IFS= read -r seer_lines <&3 || exit 125
	if [ "$seer_lines" -lt 0 ]; then
		seer_value=$(dd bs="${seer_lines#-}" count=1 iflag=fullblock <&3 2>/dev/null && echo .) || exit 125
		seer_value=${seer_value%.}
	else
		IFS= read -r seer_value <&3 || exit 125
		while [ "$seer_lines" -gt 1 ]; do
			IFS= read -r seer_line <&3 || exit 125
			seer_value="$seer_value
$seer_line"
			seer_lines=$((seer_lines - 1))
		done
	fi
	eval "$1=\$seer_value"
}
# Every append to the arguments copies all of them: so they come in batches.
set --
seer_words=
seer_n=0
while [ "$seer_n" -lt 256 ]; do
	seer_words="$seer_words \"\$seer_$seer_n\""
	seer_n=$((seer_n + 1))
done
IFS= read -r seer_count <&3 || exit 125
while [ "$seer_count" -ge 256 ]; do
	seer_n=0
	while [ "$seer_n" -lt 256 ]; do
		seer_next "seer_$seer_n"
		seer_n=$((seer_n + 1))
	done
	eval "set -- \"\$@\" $seer_words"
	seer_count=$((seer_count - 256))
done
while [ "$seer_count" -gt 0 ]; do
	seer_next seer_0
	set -- "$@" "$seer_0"
	seer_count=$((seer_count - 1))
done
IFS= read -r seer_count <&3 || exit 125
while [ "$seer_count" -gt 0 ]; do
	IFS= read -r seer_name <&3 || exit 125
	seer_next seer_0
	case $seer_name in
	PATH) seer_path=$seer_0 ;;
	*) export "$seer_name=$seer_0" ;;
	esac
	seer_count=$((seer_count - 1))
done
if [ "$seer_own" ]; then
	exec env -i "$seer_own" "PATH=$seer_tools:$seer_path" "HOME=${HOME-/}" LC_ALL=C "$@" 3<&-
fi
PATH=$seer_path
exec "$@" 3<&-
