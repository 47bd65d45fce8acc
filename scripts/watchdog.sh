# Keeps a sandbox alive while its lease lasts. $1: seconds, or "none"; $2: what
# FromID wants to know, as JSON; then python/daemon.py and what it is to run, if
# anything. scripts/lease.sh renews the lease: its file holds the time of its
# end, or "none". Both lie where no snapshot takes them along. A sandbox without
# a lease gets none from whoever comes to use it.
mkdir -p /workspace
lease=$1 state=$2
shift 2
if [ $# -gt 0 ]; then
	daemon=$1
	shift
fi
for order; do
	python -c "$daemon" "$order" </dev/null >/dev/null 2>&1 &
done
umask 077
mkdir -p /dev/shm/seer
end=none
if [ "$lease" != none ]; then
	end=$(($(date +%s) + lease))
	(set -C && echo "$end" >/dev/shm/seer/lease) 2>/dev/null # unless it was lifted already
fi
printf '%s' "$state" >/dev/shm/seer/state.new && mv /dev/shm/seer/state.new /dev/shm/seer/state.json
trap 'exit 0' TERM INT
while :; do
	sleep 5 &
	wait $!
	[ "$lease" = none ] && continue
	[ -r /dev/shm/seer/lease ] && read -r renewed </dev/shm/seer/lease && end=$renewed
	[ "$end" = none ] && continue
	if [ "$(date +%s)" -ge "$end" ]; then
		echo "seer: the lease ran out: the program that started this sandbox is gone" >&2
		exit 75
	fi
done
