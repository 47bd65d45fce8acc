"""Makes packages of a directory importable, and proves it.

Arguments: the directory; "everywhere" to tell every interpreter of this
environment of it, or "here" when PYTHONPATH does; the names of the packages.
"""

import os
import sys

# What lies where an agent works, or where PYTHONPATH leads, is no code of ours:
# modules of the same names wait until ours are there.
everywhere = sys.path[:]
named = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
sys.path[:] = [place for place in everywhere if place and os.path.abspath(place) not in named]

import importlib.util
import sysconfig

root, scope, *names = sys.argv[1:]
if scope == "everywhere":
    with open(os.path.join(sysconfig.get_path("purelib"), "seer-libraries.pth"), "w") as listing:
        listing.write(root + "\n")
    if root not in everywhere:
        everywhere.append(root)
sys.path[:] = everywhere
for name in names:
    spec = importlib.util.find_spec(name)
    homes = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or "the interpreter"])
    if os.path.realpath(os.path.join(root, name)) not in map(os.path.realpath, homes):
        sys.exit(f"{name}: Python imports {homes or 'nothing'} under this name; give the library another one")
