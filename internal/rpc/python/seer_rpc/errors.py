"""An exception as it travels: bounded, and with what its own class would know of it.

    {"type": "FileNotFoundError", "message": "...", "bases": ["FileNotFoundError", "OSError"],
     "notes": ["..."], "os": {"errno": 2, "strerror": "...", "filename": "x"},
     "group": "...", "exceptions": [{...}]}
"""

import builtins
import os
import traceback

MAX_TEXT = 64 << 10
MAX_NOTES = 50
MAX_MEMBERS = 100  # of all groups within a group


def answer(error, shown=""):
    """The JSON-able form of an exception, whose own methods may be anything."""
    told = _Telling().tell(error, 0)
    if shown:
        told["traceback"] = cut(shown, 4 * MAX_TEXT)
    return told


class _Telling:
    def __init__(self):
        self.left = MAX_MEMBERS

    def tell(self, error, depth):
        told = {"type": cut(type(error).__name__, 200), "message": text(error), "bases": bases(error)}
        notes = attribute(error, "__notes__")
        if isinstance(notes, (list, tuple)):
            told["notes"] = [cut(note) for note in notes[:MAX_NOTES] if isinstance(note, str)]
        if isinstance(error, OSError):
            told["os"] = system(error)
        members = attribute(error, "exceptions")
        if "BaseExceptionGroup" in told["bases"] and isinstance(members, tuple) and depth < 10:
            told["group"] = cut(str(error.message))
            told["exceptions"] = []
            for member in members:
                if self.left == 0:
                    break
                self.left -= 1
                told["exceptions"].append(self.tell(member, depth + 1))
        return told


def attribute(error, name):
    try:
        return getattr(error, name, None)
    except Exception:  # a class of the author's own
        return None


def system(error):
    found = {}
    for name in ("errno", "strerror", "filename", "filename2"):
        value = attribute(error, name)
        if isinstance(value, (bytes, os.PathLike)):
            value = os.fsdecode(value)
        if isinstance(value, str):
            found[name] = cut(value)
        elif isinstance(value, int) and value.bit_length() < 64:
            found[name] = int(value)
    return found


def bases(error):
    """The builtin exceptions that this one is, nearest first."""
    found = [base.__name__ for base in type(error).__mro__ if getattr(builtins, base.__name__, None) is base]
    return [name for name in found if name not in ("Exception", "BaseException", "object")]


def text(error):
    try:
        return cut(str(error))
    except Exception:
        return f"<{type(error).__name__} whose text cannot be read>"


def cut(words, limit=MAX_TEXT):
    """A text without its middle, where that is too long."""
    if len(words) <= limit:
        return words
    return f"{words[:limit // 2]}\n[... {len(words) - limit} characters left out ...]\n{words[-(limit // 2):]}"


def trace(error, package):
    """The traceback without the frames of this package."""
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__)
        for part in _parts(shown, set()):
            kept = [frame for frame in part.stack if not frame.filename.startswith(package)]
            part.stack = traceback.StackSummary.from_list(kept)
        return "".join(shown.format()).rstrip("\n")
    except Exception as failed:  # an exception whose own methods fail
        return f"{type(error).__name__}: {text(error)} (its traceback cannot be shown: {type(failed).__name__})"


def _parts(part, seen):
    """An exception's traceback, those of what it came from, and those of a group's members."""
    if part is None or id(part) in seen:
        return
    seen.add(id(part))
    yield part
    for other in (part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())):
        yield from _parts(other, seen)
