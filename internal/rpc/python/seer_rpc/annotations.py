"""Annotations: evaluated, as a JSON Schema, and as a tree that a library can spell.

A tree is {"name": ..., "args": [...]}, where the name is a builtin or a dotted
name of the standard library, or {"name": "Literal", "values": [...]}. What a
library without our packages cannot spell is {"name": "Any", "inexact": true}.
"""

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

_SCHEMAS = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    bytearray: {"type": "string", "contentEncoding": "base64"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": "number", "description": "seconds"},
    decimal.Decimal: {"type": "string", "description": "a decimal number"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    complex: {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
}

_NAMES = {
    bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", bytearray: "bytes", complex: "complex",
    object: "object", type(None): "None", datetime.datetime: "datetime.datetime", datetime.date: "datetime.date",
    datetime.time: "datetime.time", datetime.timedelta: "datetime.timedelta", decimal.Decimal: "decimal.Decimal",
    uuid.UUID: "uuid.UUID",
}

_CONSTRAINTS = (
    ("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum"),
    ("multiple_of", "multipleOf"), ("pattern", "pattern"),
)


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
        origin = typing.get_origin(annotation)
        name = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif is_alias(annotation):
            annotation = annotation.__value__
        elif name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or typing.Any
        else:
            return annotation


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
        callable(getattr(annotation, "model_json_schema", None)) or hasattr(annotation, "__get_validators__")
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


class Schemas:
    """JSON Schema (2020-12) of annotations; classes are collected under $defs."""

    def __init__(self):
        self.defs = {}
        self.classes = {}

    def document(self, schema):
        if self.defs:
            schema = dict(schema)
            schema["$defs"] = self.defs
        return schema

    def of(self, annotation):
        if annotation is inspect.Parameter.empty or annotation in (typing.Any, object):
            return {}
        if isinstance(annotation, (str, typing.ForwardRef)):
            return {"description": text(annotation)}
        if hasattr(annotation, "__metadata__"):
            return self.annotated(annotation)
        if is_alias(annotation):
            return self.define(annotation, lambda: self.of(annotation.__value__))
        if getattr(annotation, "__unpacked__", False):
            return {}
        stripped = strip(annotation)
        if stripped is not annotation:
            return self.of(stripped)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in UNION_TYPES:
            return {"anyOf": [self.of(arg) for arg in args]}
        if origin is typing.Literal:
            return {"enum": [plain_constant(value) for value in args]}
        plain = origin or annotation
        if not isinstance(plain, type):
            return {"description": text(annotation)}
        if plain in _SCHEMAS:
            return dict(_SCHEMAS[plain])
        return self.container(plain, args) or self.named(plain) or {"description": text(annotation)}

    def container(self, plain, args):
        args = [arg for arg in args if arg != ()]
        if plain is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return self.array(args[:1])
            if args:
                items = [self.of(arg) for arg in args]
                return {"type": "array", "prefixItems": items, "items": False, "minItems": len(args)}
            return {"type": "array"}
        if plain in SET_ORIGINS:
            return dict(self.array(args), uniqueItems=True)
        if plain in LIST_ORIGINS:
            return self.array(args)
        if plain in DICT_ORIGINS:
            schema = {"type": "object"}
            if len(args) == 2 and args[1] is not typing.Any:
                schema["additionalProperties"] = self.of(args[1])
            return schema
        return None

    def array(self, args):
        schema = {"type": "array"}
        if args and args[0] is not typing.Any:
            schema["items"] = self.of(args[0])
        return schema

    def named(self, plain):
        if issubclass(plain, enum.Enum):
            return self.define(plain, lambda: self.enumeration(plain))
        if issubclass(plain, pathlib.PurePath):
            return {"type": "string", "format": "path"}
        if is_named(plain, "numpy.ndarray", "torch.Tensor"):
            return {"type": "array", "description": text(plain)}
        if is_pydantic(plain):
            return self.pydantic(plain)
        if dataclasses.is_dataclass(plain):
            return self.define(plain, lambda: self.dataclass(plain))
        if is_typed_dict(plain):
            return self.define(plain, lambda: self.typed_dict(plain))
        if is_named_tuple(plain):
            return self.define(plain, lambda: self.named_tuple(plain))
        for base in (bool, int, float, str):
            if issubclass(plain, base):
                return dict(_SCHEMAS[base], description=text(plain))
        return None

    def define(self, plain, make):
        if plain not in self.classes:
            name, number = plain.__name__, 2
            while name in self.defs:
                name, number = f"{plain.__name__}{number}", number + 1
            self.classes[plain] = name
            self.defs[name] = {}
            self.defs[name] = make()
        return {"$ref": f"#/$defs/{self.classes[plain]}"}

    def described(self, plain, schema):
        """Adds a class's docstring, but not the one that dataclass and its like make up."""
        doc = plain.__dict__.get("__doc__")
        if doc and not doc.startswith(plain.__name__ + "(") and doc != "An enumeration.":
            schema["description"] = inspect.cleandoc(doc)
        return schema

    def enumeration(self, plain):
        if issubclass(plain, enum.Flag):
            return self.described(plain, {"type": "integer"})
        return self.described(plain, {"enum": [plain_constant(member) for member in plain]})

    def dataclass(self, plain):
        hints = fields(plain)
        properties, required = {}, []
        for field in dataclasses.fields(plain):
            if not field.init:
                continue
            properties[field.name] = self.of(hints.get(field.name, typing.Any))
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.append(field.name)
        return self.described(plain, self.object(properties, required))

    def typed_dict(self, plain):
        properties = {name: self.of(hint) for name, hint in fields(plain).items()}
        return self.described(plain, self.object(properties, sorted(getattr(plain, "__required_keys__", ()))))

    def named_tuple(self, plain):
        hints = fields(plain)
        items = [dict(self.of(hints.get(name, typing.Any)), title=name) for name in plain._fields]
        least = len(items) - len(plain._field_defaults)
        return self.described(plain, {"type": "array", "prefixItems": items, "items": False, "minItems": least})

    def object(self, properties, required):
        schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        return schema

    def pydantic(self, plain):
        try:
            if hasattr(plain, "model_json_schema"):
                schema = plain.model_json_schema(ref_template="#/$defs/{model}")
            else:
                schema = plain.schema(ref_template="#/$defs/{model}")
        except Exception:  # a model with a field that pydantic itself cannot describe
            return {"type": "object", "description": text(plain)}
        for name, inner in {**schema.pop("definitions", {}), **schema.pop("$defs", {})}.items():
            self.defs.setdefault(name, inner)
        return schema

    def annotated(self, annotation):
        schema = dict(self.of(annotation.__origin__))
        for extra in annotation.__metadata__:
            words = extra if isinstance(extra, str) else getattr(extra, "description", None)
            words = words or getattr(extra, "documentation", None)
            if isinstance(words, str):
                schema["description"] = words
            for item in (extra, *(getattr(extra, "metadata", None) or ())):
                self.constrain(schema, item)
        return schema

    def constrain(self, schema, extra):
        for attribute, keyword in _CONSTRAINTS:
            value = getattr(extra, attribute, None)
            if isinstance(value, (int, float, str)):
                schema[keyword] = value
        for attribute, keyword in (("min_length", "min"), ("max_length", "max")):
            value = getattr(extra, attribute, None)
            if isinstance(value, int):
                schema[keyword + ("Items" if schema.get("type") == "array" else "Length")] = value


def plain_constant(value):
    """A member of an enum or a Literal as JSON says it."""
    if isinstance(value, enum.Enum):
        value = value.value if isinstance(value.value, (str, int, float, bool, type(None))) else value.name
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
