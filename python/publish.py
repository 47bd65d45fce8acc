"""Makes packages of a directory importable, and proves it.

Arguments: the directory; "everywhere" to tell every interpreter of this
environment of it, or "here" when PYTHONPATH does; the names of the packages.
"""

import importlib.util
import os
import sys
import sysconfig

root, scope, *names = sys.argv[1:]
if scope == "everywhere":
    with open(os.path.join(sysconfig.get_path("purelib"), "seer-libraries.pth"), "w") as listing:
        listing.write(root + "\n")
    if root not in sys.path:
        sys.path.append(root)
for name in names:
    spec = importlib.util.find_spec(name)
    homes = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or "the interpreter"])
    if os.path.realpath(os.path.join(root, name)) not in map(os.path.realpath, homes):
        sys.exit(f"{name}: Python imports {homes or 'nothing'} under this name; give the library another one")
