"""Prints which of the named modules this interpreter lacks."""

import importlib.util
import sys

print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
