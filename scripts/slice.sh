# Prints $3 bytes of the file $1 from byte $2 on, counted from 1.
exec <"$1" && tail -c "+$2" | head -c "$3"
