# Builds the Dockerfile of a repository and runs it in the background.
# Arguments: the repository's directory, the Dockerfile in it, the name of the
# image and of the container.
set -eu
docker build --file "$1/$2" --tag "$3" -- "$1"
docker run --detach --name "$3" --network host --volume "$1:$1" -- "$3" >/dev/null
# A container that ends at once is a failure, with what it printed.
if [ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' -- "$3")" != "running 0" ]; then
    status=$(docker wait -- "$3")
    if [ "$status" != 0 ]; then
        docker logs -- "$3" >&2
        exit "$status"
    fi
fi
