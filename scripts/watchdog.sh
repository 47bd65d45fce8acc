# Keeps a sandbox alive while its lease lasts. $1: seconds, or "none".
# scripts/lease.sh renews it: the file holds the time of its end, or "none".
lease=/run/seer/lease
mkdir -p /run/seer && chmod 700 /run/seer
trap 'exit 0' TERM INT
end=none
[ "$1" = none ] || end=$(($(date +%s) + $1))
while :; do
	sleep 5 &
	wait $!
	[ -r "$lease" ] && read -r end <"$lease"
	[ "$end" = none ] && continue
	if [ "$(date +%s)" -ge "$end" ]; then
		echo "seer: the lease ran out: the program that started this sandbox is gone" >&2
		exit 75
	fi
done
