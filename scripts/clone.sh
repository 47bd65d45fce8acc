# Clones a repository and prints the commit that is checked out.
# $1: URL, $2: branch or "", $3: commit or "", $4: target.
set -eu
# Nothing of git's own outlives the clone, and with it the token in its environment.
git() { command git -c maintenance.auto=false -c gc.auto=0 -c core.fsmonitor=false "$@"; }
export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new'
if [ -n "$2" ]; then
	git clone --quiet --branch "$2" -- "$1" "$4"
else
	git clone --quiet -- "$1" "$4"
fi >&2
if [ -n "$3" ]; then
	git -C "$4" cat-file -e "$3^{commit}" 2>/dev/null || git -C "$4" fetch --quiet origin "$3" >&2
	git -C "$4" checkout --quiet --detach "$3" >&2
fi
git -C "$4" rev-parse HEAD
