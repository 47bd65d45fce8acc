# Becomes a command that carries a mark: sh -c LAUNCH sh SEER_EXEC=ID MODE ...
#   null COMMAND...   with /dev/null for its standard input
#   pipe COMMAND...   with the standard input that there is
#   head              environment and command come first on standard input
#   file PATH         environment and command are in a file, which is removed
# A value is a line with the number of its lines, and these; or, where it is
# large, a line with minus the number of its bytes, and these.
export "$1"
# The sandbox's own command makes it too, and may come a moment later.
[ -d /workspace ] || mkdir -p /workspace 2>/dev/null || :
case $2 in
null) shift 2; exec "$@" </dev/null ;;
pipe) shift 2; exec "$@" ;;
head) exec 3<&0 ;;
file) exec 3<"$3" && rm -f -- "$3" || exit 125 ;;
esac
seer_line=
seer_next() {
	IFS= read -r seer_lines <&3 || exit 125
	if [ "$seer_lines" -lt 0 ]; then
		seer_value=$(dd bs="${seer_lines#-}" count=1 iflag=fullblock <&3 2>/dev/null && echo .) || exit 125
		seer_value=${seer_value%.}
		return
	fi
	IFS= read -r seer_value <&3 || exit 125
	while [ "$seer_lines" -gt 1 ]; do
		IFS= read -r seer_line <&3 || exit 125
		seer_value="$seer_value
$seer_line"
		seer_lines=$((seer_lines - 1))
	done
}
IFS= read -r seer_count <&3 || exit 125
while [ "$seer_count" -gt 0 ]; do
	IFS= read -r seer_name <&3 || exit 125
	seer_next
	export "$seer_name=$seer_value"
	seer_count=$((seer_count - 1))
done
IFS= read -r seer_count <&3 || exit 125
set --
while [ "$seer_count" -gt 0 ]; do
	seer_next
	set -- "$@" "$seer_value"
	seer_count=$((seer_count - 1))
done
exec "$@" 3<&-
