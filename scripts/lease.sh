# Renews a sandbox's lease. $1: seconds from now, or "none" to lift it for good.
umask 077
mkdir -p /dev/shm/seer && cd /dev/shm/seer || exit 1
# Programs that share a sandbox take turns, and none shortens another's lease.
exec 9>lease.lock
command -v flock >/dev/null && flock 9
if [ "$1" = none ]; then
	end=none
else
	end=$(($(date +%s) + $1))
	before=$(cat lease 2>/dev/null)
	[ "$before" = none ] && exit 0
	[ "${before:-0}" -gt "$end" ] && exit 0
fi
printf '%s\n' "$end" >lease.new && mv lease.new lease
