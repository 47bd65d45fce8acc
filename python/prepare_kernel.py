def _prepare():
    """Takes on what the session has left beside the kernel's connection file."""
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


try:
    _prepare()
finally:
    del _prepare
