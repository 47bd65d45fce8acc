# Builds the Dockerfile of a repository and runs it in the background, or goes on
# with the container that a snapshot has of it.
# Arguments: the repository's directory, the Dockerfile in it, the name of the
# image and of the container.
set -eu
if docker container inspect -- "$3" >/dev/null 2>&1; then
    docker start -- "$3" >/dev/null
else
    docker build --file "$1/$2" --tag "$3" -- "$1"
    docker run --detach --name "$3" --network host --volume "$1:$1" -- "$3" >/dev/null
fi
# A container that ends at once is a failure, with what it printed.
if [ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' -- "$3")" != "running 0" ]; then
    status=$(docker wait -- "$3")
    if [ "$status" != 0 ]; then
        docker logs -- "$3" >&2
        exit "$status"
    fi
fi
