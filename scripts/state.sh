# Prints the file $1, where the sandbox's own command keeps its state. It may
# be just about to write it.
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -r "$1" ] && exec cat -- "$1"
	sleep 0.05
done
