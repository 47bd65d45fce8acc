"""Prints which of the named modules this interpreter lacks."""

import os
import sys

# What lies where an agent works, or where PYTHONPATH leads, is no code of ours:
# modules of the same names wait until ours are there.
everywhere = sys.path[:]
named = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
sys.path[:] = [place for place in everywhere if place and os.path.abspath(place) not in named]

import importlib.util

sys.path[:] = everywhere
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
