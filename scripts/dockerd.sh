# Runs a Docker daemon, unless one answers, and waits until it does.
# Argument: the directory of its log.
set -u
home=$1
mkdir -p "$home"
if docker version >/dev/null 2>&1; then
    exit 0
fi
setsid dockerd </dev/null >"$home/log" 2>&1 &
daemon=$!
until docker version >/dev/null 2>&1; do
    if ! kill -0 "$daemon" 2>/dev/null; then
        tail -n 20 "$home/log" >&2
        exit 1
    fi
    sleep 0.05
done
