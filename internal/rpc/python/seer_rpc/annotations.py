"""Annotations: evaluated, taken apart, and as a tree that a library can spell.

A tree is {"name": ..., "args": [...]}, where the name is a builtin or a dotted
name of the standard library, or {"name": "Literal", "values": [...]}. What a
library without our packages cannot spell is {"name": "Any", "inexact": true}.
"""

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import pathlib
import re
import sys
import types
import typing
import uuid

from . import values

UNION_TYPES = (typing.Union, getattr(types, "UnionType", typing.Union))

LIST_ORIGINS = (
    list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable,
    collections.abc.Collection, collections.deque,
)
SET_ORIGINS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
DICT_ORIGINS = (
    dict, collections.abc.Mapping, collections.abc.MutableMapping, collections.OrderedDict, collections.defaultdict,
)

_NAMES = {
    bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", bytearray: "bytes", complex: "complex",
    object: "object", type(None): "None", datetime.datetime: "datetime.datetime", datetime.date: "datetime.date",
    datetime.time: "datetime.time", datetime.timedelta: "datetime.timedelta", decimal.Decimal: "decimal.Decimal",
    uuid.UUID: "uuid.UUID",
}


def evaluate(annotation, namespace):
    """The object that an annotation names; a name that cannot be found stays a string."""
    if not isinstance(annotation, (str, typing.ForwardRef)):
        return resolve(annotation, namespace)
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    try:
        return resolve(eval(text, namespace, {}), namespace)  # noqa: S307 - the interface file's own annotation
    except Exception:
        return text


def resolve(annotation, namespace):
    """Evaluates the strings inside list["Foo"] and its like, where that can be done."""
    if annotation is None:
        return type(None)
    if not any(isinstance(part, (str, typing.ForwardRef)) for part in _parts(annotation)):
        return annotation
    try:
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        return typing.get_type_hints(holder, namespace, {}, include_extras=True)["it"]
    except Exception:
        return annotation


def _parts(annotation, depth=0):
    yield annotation
    if depth < 20 and typing.get_origin(annotation) is not typing.Literal:
        for part in typing.get_args(annotation):
            if isinstance(part, list):
                continue
            yield from _parts(part, depth + 1)


def text(annotation):
    """An annotation as its author would read it."""
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    if annotation is type(None):
        return "None"
    shown = inspect.formatannotation(annotation)
    shown = re.sub(r"ForwardRef\((['\"])(.*?)\1(?:, module=[^)]*)?\)", r"\2", shown)
    return re.sub(r"\b(typing|seer_interface)\.", "", shown)


def strip(annotation):
    """Without Annotated, Required, NewType, Final and aliases."""
    while True:
        inner = annotation.__origin__ if hasattr(annotation, "__metadata__") else unwrap(annotation)
        if inner is annotation:
            return annotation
        annotation = inner


def unwrap(annotation):
    """One layer less, where there is one that says nothing about values: NewType, Final, an alias."""
    origin = typing.get_origin(annotation)
    name = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    if is_alias(annotation):
        return annotation.__value__
    if isinstance(annotation, dataclasses.InitVar):
        return annotation.type
    if name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
        return typing.get_args(annotation)[0]
    if isinstance(annotation, typing.TypeVar):
        return annotation.__bound__ or typing.Any
    return annotation


def takes_none(annotation, inside=()):
    """Whether None is a value of its own here. Where no annotation says so, it is not."""
    if annotation is typing.Any or annotation is object or annotation is None or annotation is type(None):
        return True
    if any(annotation is alias for alias in inside) or isinstance(annotation, (str, typing.ForwardRef)):
        return False
    stripped = strip(annotation)
    if stripped is not annotation:
        return takes_none(stripped, (*inside, annotation))
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return None in args
    return origin in UNION_TYPES and any(takes_none(arg, (*inside, annotation)) for arg in args)


def is_named(annotation, *names):
    """Whether this is one of the classes "module.Name", none of which is imported for the question."""
    annotation = typing.get_origin(annotation) or annotation
    if not isinstance(annotation, type):
        return False
    return f"{annotation.__module__.partition('.')[0]}.{annotation.__qualname__}" in names


def is_typed_dict(annotation):
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, "__total__")


def is_named_tuple(annotation):
    return isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def is_pydantic(annotation):
    return isinstance(annotation, type) and (
        callable(getattr(annotation, "model_validate", None)) or callable(getattr(annotation, "parse_obj", None))
    )


def fields(annotation):
    """The annotations of a class's fields, evaluated in its own module."""
    namespace = dict(vars(sys.modules.get(annotation.__module__, types)))
    found = {}
    for base in reversed(annotation.__mro__):
        for name, value in base.__dict__.get("__annotations__", {}).items():
            found[name] = evaluate(value, namespace)
    if not found:
        found = {name: evaluate(value, namespace) for name, value in getattr(annotation, "__annotations__", {}).items()}
    return found


def dataclass_fields(annotation):
    """The names that the constructor takes, those it needs, and those that are set after it."""
    taken, required, later = [], [], []
    for field in annotation.__dataclass_fields__.values():  # fields() leaves out those of the constructor alone
        if field._field_type is dataclasses._FIELD_CLASSVAR:
            continue
        if not field.init:
            later.append(field.name)
            continue
        taken.append(field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return taken, required, later


def constraints(metadata):
    """What is said beside a type, with what pydantic gathers in one place."""
    for extra in metadata:
        yield extra
        inner = getattr(extra, "metadata", None)
        if isinstance(inner, (list, tuple)):
            yield from inner


def constant_text(value):
    """A member of an enum or a Literal as JSON writes it."""
    try:
        return json.dumps(plain_constant(value), ensure_ascii=False)
    except ValueError:  # a number of too many digits
        return repr(value)[:100]


def plain_constant(value):
    """A member of an enum or a Literal as JSON says it."""
    if isinstance(value, enum.Enum):
        value = value.value if isinstance(value.value, (str, int, float, bool, type(None))) else value.name
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def as_input(value, annotation):
    """What pydantic models were sent as, in the names that they are made from, without what they compute."""
    annotation = strip(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(value, dict) and is_pydantic(annotation):
        return _model_input(value, annotation)
    if isinstance(value, dict) and origin in DICT_ORIGINS and len(args) == 2:
        return {name: as_input(item, args[1]) for name, item in value.items()}
    if isinstance(value, list) and origin in LIST_ORIGINS and args:
        return [as_input(item, args[0]) for item in value]
    if origin in UNION_TYPES:
        for arg in args:
            changed = as_input(value, arg)
            if changed != value:
                return changed
    return value


def _model_input(value, model):
    fields = getattr(model, "model_fields", None)
    if not isinstance(fields, dict):
        return value  # of pydantic 1, which has one alias for both ways
    wanted = {name: _taken_as(name, field) for name, field in fields.items()}
    names = {taken: name for name, taken in wanted.items()}
    for name, field in fields.items():
        names.setdefault(field.serialization_alias or name, name)
    dropped = set()
    for name, computed in (getattr(model, "model_computed_fields", None) or {}).items():
        dropped.update((name, computed.alias))
    made = {}
    for name, item in value.items():
        if name in names:
            made[wanted[names[name]]] = as_input(item, fields[names[name]].annotation)
        elif name not in dropped:
            made[name] = item
    return made


def _taken_as(name, field):
    alias = field.validation_alias
    for choice in getattr(alias, "choices", None) or ():
        if isinstance(choice, str):
            return choice
    return alias if isinstance(alias, str) else field.alias or name


def is_alias(annotation):
    return type(annotation).__name__ == "TypeAliasType"


def tree(annotation, inside=()):
    """`inside` has the aliases that are being spelled: one may contain itself."""
    if annotation is inspect.Parameter.empty:
        return {"name": "Any"}
    if annotation is typing.Any:
        return {"name": "Any"}
    if isinstance(annotation, (str, typing.ForwardRef)):
        return _unknown()
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return dict(tree(annotation.__origin__, inside), inexact=True)
    if any(annotation is alias for alias in inside) or getattr(annotation, "__unpacked__", False):
        return _unknown()
    stripped = strip(annotation)
    if stripped is not annotation:
        return dict(tree(stripped, (*inside, annotation)), inexact=True)
    if origin in UNION_TYPES:
        return {"name": "Union", "args": [tree(arg, inside) for arg in args]}
    if origin is typing.Literal:
        if all(type(value) in (str, int, bool, bytes, type(None)) for value in args):
            return {"name": "Literal", "values": [json.loads(values.dumps(value)) for value in args]}
        return _unknown()
    plain = origin or annotation
    if not isinstance(plain, type):
        return _unknown()
    if plain in _NAMES:
        return {"name": _NAMES[plain]}
    if plain is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return {"name": "tuple", "args": [tree(args[0], inside)], "variadic": True}
        return {"name": "tuple", "args": [tree(arg, inside) for arg in args if arg != ()]}
    for name, origins in (("list", LIST_ORIGINS), ("dict", DICT_ORIGINS), ("set", SET_ORIGINS)):
        if plain in origins:
            spelt = {"name": "frozenset" if plain is frozenset else name, "args": [tree(arg, inside) for arg in args]}
            return spelt if plain.__name__ == spelt["name"] else dict(spelt, inexact=True)
    if issubclass(plain, pathlib.PurePath):
        return {"name": "pathlib.Path"}
    return _unknown()


def _unknown():
    return {"name": "Any", "inexact": True}
