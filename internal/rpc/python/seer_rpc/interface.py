"""Loads one interface file: what its author may use, and what came of it."""

import base64
import builtins
import importlib.util
import inspect
import io
import json
import linecache
import os
import sys
import types

from . import describe, errors, spawned

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class LoadFailed(Exception):
    """The interface file cannot be served: {type, message, traceback}."""

    def __init__(self, kind, message, shown):
        super().__init__(message)
        self.answer = {"type": kind, "message": message, "traceback": shown}


class Exposed:
    """What @expose collected."""

    def __init__(self):
        self.targets = []

    def expose(self, target=None, *, serial=False):
        """Makes a function callable from outside; serial=True runs one call of it at a time."""
        if target is None:
            return lambda later: self.expose(later, serial=serial)
        self.targets.append((target, serial))
        return target


Exposed.expose.__qualname__ = "expose"  # as its users know it


class Models:
    """The model table behind get_model_path and list_configured_models."""

    def __init__(self, table):
        self.table = table

    def get_model_path(self, name=None, *, base=False):
        """Where a configured model lies; its ID or variable name may be left out if there is one model.

        Of an adapter, base=True is its base model, which is also found by its own ID.
        """
        entry = self.find(name)
        if not base:
            return entry["path"] if entry else self.find_base(name)
        if entry is None or not entry.get("base_path"):
            raise ValueError(f"model {name!r} is no configured adapter; {self.configured()}")
        return entry["base_path"]

    def find(self, name):
        if name is None:
            return self.table[0] if len(self.table) == 1 else None
        for key in ("name", "var_name"):
            for entry in self.table:
                if entry.get(key) == name:
                    return entry
        return None

    def find_base(self, name):
        for entry in self.table:
            if name is not None and entry.get("base") == name:
                return entry["base_path"]
        raise ValueError(f"model {name!r} is not configured; {self.configured()}")

    def configured(self):
        return f"configured: {self.list_configured_models()}" if self.table else "no models are configured"

    def list_configured_models(self):
        """The names of the configured models."""
        return [entry["name"] for entry in self.table]


def load(spec):
    """Runs the file. Returns [(target, description)], or raises LoadFailed."""
    module = types.ModuleType(spawned.MODULE)
    sys.modules[spawned.MODULE] = module
    try:
        exposed = run(spec, module)
    except BaseException as error:
        shown = errors.cut(trace(error), 4 * errors.MAX_TEXT)
        raise LoadFailed(type(error).__name__, errors.text(error), shown) from None
    return described(exposed, spec["filename"])


def run(spec, module):
    """Runs the file in a module, with the three names that its author may use. Returns what it exposed."""
    exposed, models = Exposed(), Models(spec.get("models") or [])
    builtins.expose = exposed.expose
    builtins.get_model_path = models.get_model_path
    builtins.list_configured_models = models.list_configured_models
    filename, source = spec["filename"], base64.b64decode(spec["source"])
    module.__file__ = os.path.join(os.getcwd(), os.path.basename(filename))
    code = compile(source, filename, "exec", dont_inherit=True)  # bytes: Python finds the encoding, as in any file
    lines = io.StringIO(importlib.util.decode_source(source)).readlines()
    linecache.cache[filename] = (len(source), None, lines, filename)
    exec(code, module.__dict__)
    return exposed


def run_again(module):
    """Runs the file in a spawned process, which may start none itself until that is done."""
    import multiprocessing.process  # slow to import, and needed in spawned processes alone

    with open(os.path.join(os.path.dirname(module.__file__), spawned.SPEC), encoding="ascii") as file:
        spec = json.load(file)
    process = multiprocessing.process.current_process()
    before = getattr(process, "_inheriting", None)
    process._inheriting = True  # as while Python runs the main module of a spawned process
    try:
        run(spec, module)
    finally:
        if before is None:
            del process._inheriting
        else:
            process._inheriting = before


def described(exposed, filename):
    if not exposed.targets:
        message = f"{filename} exposes nothing: put @expose above each function to serve"
        raise LoadFailed("NothingExposed", message, f"NothingExposed: {message}")
    served, refused = {}, []
    for target, serial in exposed.targets:
        try:
            description = describe.function(target, serial)
        except describe.Unservable as error:
            refused.append((target, str(error)))
            continue
        except Exception as error:
            name = getattr(target, "__name__", type(target).__name__)
            refused.append((target, f"{name}: cannot be described ({type(error).__name__}: {errors.text(error)})"))
            continue
        if description["name"] in served:
            refused.append((target, f"{description['name']}: is exposed twice"))
        served[description["name"]] = (target, description)
    if refused:
        message = "; ".join(reason for _, reason in refused)
        shown = "".join(place(target, filename) + f"Unservable: {reason}\n" for target, reason in refused)
        raise LoadFailed("Unservable", message, shown.rstrip("\n"))
    return list(served.values())


def place(target, filename):
    code = getattr(inspect.unwrap(target), "__code__", None)
    if code is None:
        return f'  File "{filename}"\n'
    return f'  File "{code.co_filename}", line {code.co_firstlineno}, in {code.co_name}\n'


def trace(error):
    """The traceback without this package's own frames."""
    return errors.trace(error, _PACKAGE)
