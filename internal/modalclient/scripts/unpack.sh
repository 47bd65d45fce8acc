# Unpacks a tar stream below the directory $1.
LC_ALL=C
export LC_ALL
mkdir -p -- "$1" && exec tar -x -p -o --no-overwrite-dir -f - -C "$1"
