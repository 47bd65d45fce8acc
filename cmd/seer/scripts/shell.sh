# Runs a login shell in the terminal it is given. $1: mark by which resize.sh
# finds the terminal, $2: rows, $3: columns.
mkdir -p /dev/shm/seer
note="/dev/shm/seer/tty.$1"
tty >"$note"
stty rows "$2" cols "$3"
# Where sessions work too.
cd /workspace 2>/dev/null || cd /
shell=/bin/sh
[ -x /bin/bash ] && shell=/bin/bash
"$shell" -l
status=$?
rm -f "$note"
exit "$status"
