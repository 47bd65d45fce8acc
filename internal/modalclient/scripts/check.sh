# Comes before the scripts that take a path.
LC_ALL=C
export LC_ALL
# kind says what special file $1 is, if it is one.
kind() {
	if [ -p "$1" ]; then
		echo 'is a named pipe'
	elif [ -S "$1" ]; then
		echo 'is a socket'
	elif [ -b "$1" ] || [ -c "$1" ]; then
		echo 'is a device'
	fi
}
# check ends the script unless $1 leads to a regular file or a directory.
check() {
	if [ -f "$1" ] || [ -d "$1" ]; then
		return
	fi
	special=$(kind "$1")
	if [ "$special" ]; then
		echo "seer: $special" >&2
		exit 1
	fi
	reason=$(stat -L -- "$1" 2>&1 >/dev/null)
	if [ -L "$1" ]; then
		echo "seer: is a symbolic link that leads nowhere: ${reason##*: }" >&2
	else
		echo "$reason" >&2
	fi
	exit 1
}
