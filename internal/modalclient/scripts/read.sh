# Prints the file $1.
check "$1"
exec cat -- "$1"
