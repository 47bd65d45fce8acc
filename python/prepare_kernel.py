def _prepare():
    """Takes on what the session has left beside the kernel's connection file."""
    import asyncio
    import importlib
    import json
    import os
    import sys
    from ipykernel.connect import get_connection_file

    connection = get_connection_file()
    path = os.path.join(os.path.dirname(connection), "seer-" + os.path.basename(connection))
    with open(path) as file:
        wanted = json.load(file)
    os.unlink(path)
    os.environ.update(wanted["environ"])
    if wanted["libraries"] not in sys.path:
        sys.path.append(wanted["libraries"])
    importlib.invalidate_caches()
    # Not now: IPython wraps the streams while a cell runs.
    asyncio.get_running_loop().call_soon(_keep_order, sys.stdout, sys.stderr)


def _keep_order(*streams):
    """Sends what one stream holds back before another is written to: the kernel
    lets each wait for a moment, and so loses their order. Sends it, too, before
    it is so much that one message with it would fill the memory of who reads."""
    latest = streams[0]
    held = 0  # characters of the latest, at most
    most = 1 << 20

    def ordered(stream, write):
        def replacement(text):
            nonlocal latest, held
            if latest is not stream or held > most:
                latest, earlier, held = stream, latest, 0
                earlier.flush()
            written = write(text)
            held += written or 0
            return written

        replacement.keeps_order = True
        return replacement

    for stream in streams:
        if not hasattr(stream.write, "keeps_order"):
            stream.write = ordered(stream, stream.write)


try:
    _prepare()
finally:
    del _prepare, _keep_order
