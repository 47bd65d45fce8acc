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

for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	scan || exit 0
	[ "$round" = 1 ] && kill -TERM $found 2>/dev/null
	sleep 0.05
done
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	scan || exit 0
	kill -KILL $found 2>/dev/null
	sleep 0.1
done
echo "still running:$found" >&2
exit 1
