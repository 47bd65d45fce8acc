# Ends the command with the mark SEER_EXEC=$1 and everything that it started:
# all processes that carry the mark, all below them, and all members of
# sessions that any of them leads or led. TERM first; KILL for what is left
# after a second. Exits with 1 if something survives.
mark=$1
known=' '

# scan sets found to what still runs.
scan() {
	for file in $(printf 'SEER_EXEC=%s\n' "$mark" | grep -lsF -f - /proc/[0-9]*/environ /proc/[0-9]*/cmdline); do
		pid=${file#/proc/}
		pid=${pid%%/*}
		case $known in
		*" $pid "*) ;;
		*) known="$known$pid " ;;
		esac
	done
	table=
	for file in /proc/[0-9]*/stat; do
		{ IFS= read -r line <"$file"; } 2>/dev/null || continue
		pid=${line%% *}
		set -- ${line##*) } # state, parent, group, session
		case $1 in
		Z | X) ;;
		*) [ "$pid" -gt 1 ] && [ "$pid" -ne $$ ] && table="$table $pid:$2:$4" ;;
		esac
	done
	grown=yes
	while [ "$grown" ]; do
		grown=
		found=
		for row in $table; do
			pid=${row%%:*}
			session=${row##*:}
			parent=${row#*:}
			parent=${parent%:*}
			case $known in
			*" $pid "*) found="$found $pid" ;;
			*" $parent "* | *" $session "*)
				known="$known$pid "
				grown=yes
				;;
			esac
		done
	done
	[ "$found" ]
}

scan || exit 0
kill -TERM $found 2>/dev/null
for pause in 0.02 0.05 0.1 0.2 0.3 0.3; do
	sleep "$pause"
	scan || exit 0
done
for pause in 0.02 0.05 0.1 0.2 0.5 1 1 1; do
	kill -KILL $found 2>/dev/null
	sleep "$pause"
	scan || exit 0
done
echo "still running:$found" >&2
exit 1
