"""Serves Python interface files over HTTP: `python <this folder> [--config FILE]`."""

import sys

if sys.argv[1:2] == ["worker"]:
    from seer_rpc import worker

    worker.main(int(sys.argv[2]))
else:
    from seer_rpc import server

    server.main(sys.argv[1:])
