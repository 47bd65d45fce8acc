"""What lets the processes that a service spawns import its interface file.

Python sends a function to another process by the names of its module and of
itself. The module of an interface file came over a socket and lies nowhere, so
a folder of the service's own has a module of that name, which runs the file.
"""

import json
import os

MODULE = "seer_interface"
SPEC = "interface.json"

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_SOURCE = """import sys
sys.path.insert(0, {package!r})
try:
    from seer_rpc import interface
finally:
    sys.path.remove({package!r})
interface.run_again(sys.modules[__name__])
"""


def write(spec, folder):
    kept = {name: spec[name] for name in ("filename", "source", "models") if name in spec}
    with open(os.path.join(folder, SPEC), "w", encoding="ascii") as file:
        json.dump(kept, file)
    with open(os.path.join(folder, MODULE + ".py"), "w", encoding="utf-8") as file:
        file.write(_SOURCE.format(package=_PACKAGE))
