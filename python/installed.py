"""Prints what is installed, in its versions, as JSON: the Python distributions
that `python` sees, and of the system packages those that the arguments name."""

import importlib.metadata
import json
import re
import subprocess
import sys


def python_packages():
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a broken one has none; of two, the first is the one that is imported
            found.setdefault(name.lower(), f"{name}=={distribution.version}")
    return [found[name] for name in sorted(found)]


def system_packages(requests):
    names = [re.split("[=/]", request)[0] for request in requests]
    if not names:
        return []
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Package}=${Version}\n", "--", *names]
    try:
        out = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    except OSError:
        return []
    return sorted(line[3:] for line in out.splitlines() if line.startswith("ii "))


json.dump({"python": python_packages(), "system": system_packages(sys.argv[1:]) or None}, sys.stdout)
