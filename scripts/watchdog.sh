# Keeps a sandbox alive while its lease lasts. $1: seconds, or "none", also where
# the server keeps the lease; then python/daemon.py and what it is to run, if
# anything. scripts/lease.sh renews the lease: its file holds the time of its
# end, or "none", and no snapshot takes it along. A sandbox without a lease gets
# none from whoever comes to use it.
mkdir -p /workspace
lease=$1
shift
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
# What an agent sends to all shells, or to whatever has a word in its arguments,
# is not meant for this one.
trap : HUP INT QUIT TERM USR1 USR2 ALRM
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
