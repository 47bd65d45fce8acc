"""JSON Schema (2020-12) of annotations, in the words that strict clients take.

Every array has `items`, every `$ref` a definition of its own, and an object
whose names are known says that there are no others. What a function takes and
what it returns differ a little: see `output`.
"""

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import pathlib
import re
import typing
import uuid

from . import annotations
from .annotations import plain_constant, strip, text

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

_CONSTRAINTS = (
    ("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum"),
    ("multiple_of", "multipleOf"),
)

MAX_INT_BITS = 1023  # of longer ones, many a reader of JSON makes an infinity or an error

# The keywords that hold schemas: one, a list of them, or some by name.
_ONE = (
    "items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")


def is_number(value):
    """Whether every reader of JSON takes it for a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value.bit_length() <= MAX_INT_BITS if isinstance(value, int) else math.isfinite(value)


class Schemas:
    """Schemas of one function's parameters, or of its result; classes are collected under $defs.

    With `output`, an object has all of its fields; otherwise it has at least those that its class needs.
    """

    def __init__(self, output=False):
        self.output = output
        self.defs = {}
        self.classes = {}
        self.written = {}

    def document(self, schema):
        if self.defs:
            schema = dict(schema)
            schema["$defs"] = self.defs
        return finished(schema)

    def of(self, annotation):
        if annotation is inspect.Parameter.empty or annotation in (typing.Any, object):
            return {}
        if isinstance(annotation, (str, typing.ForwardRef)):
            return {"description": text(annotation)}
        if hasattr(annotation, "__metadata__"):
            return self.annotated(annotation)
        if annotations.is_alias(annotation):
            return self.define(annotation, lambda: self.of(annotation.__value__))
        if getattr(annotation, "__unpacked__", False):
            return {}
        stripped = strip(annotation)
        if stripped is not annotation:
            return self.of(stripped)
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in annotations.UNION_TYPES:
            return {"anyOf": [self.of(arg) for arg in args]}
        if origin is typing.Literal:
            return constants(args)
        plain = origin or annotation
        if not isinstance(plain, type):
            return {"description": text(annotation)}
        if plain in _SCHEMAS:
            return dict(_SCHEMAS[plain])
        return self.container(plain, args) or self.named(plain) or {"description": text(annotation)}

    def container(self, plain, args):
        args = [arg for arg in args if arg != ()]
        if plain is tuple:
            if not args or args[-1] is Ellipsis:
                return self.array(args[:1])
            return fixed([self.of(arg) for arg in args], len(args))
        if plain in annotations.SET_ORIGINS:
            return dict(self.array(args), uniqueItems=True)
        if plain in annotations.LIST_ORIGINS:
            return self.array(args)
        if plain in annotations.DICT_ORIGINS:
            schema = {"type": "object"}
            if len(args) == 2 and args[1] is not typing.Any:
                schema["additionalProperties"] = self.of(args[1])
            return schema
        return None

    def array(self, args):
        return {"type": "array", "items": self.of(args[0]) if args else {}}

    def named(self, plain):
        if issubclass(plain, enum.Enum):
            return self.define(plain, lambda: self.enumeration(plain))
        if issubclass(plain, pathlib.PurePath):
            return {"type": "string", "format": "path"}
        if annotations.is_named(plain, "numpy.ndarray", "torch.Tensor"):
            return {"type": "array", "items": {}, "description": text(plain)}
        if annotations.is_pydantic(plain):
            return self.pydantic(plain)
        if dataclasses.is_dataclass(plain):
            return self.define(plain, lambda: self.dataclass(plain))
        if annotations.is_typed_dict(plain):
            return self.define(plain, lambda: self.typed_dict(plain))
        if annotations.is_named_tuple(plain):
            return self.define(plain, lambda: self.named_tuple(plain))
        for base in (bool, int, float, str):
            if issubclass(plain, base):
                return dict(_SCHEMAS[base], description=text(plain))
        return None

    def define(self, plain, make):
        if plain not in self.classes:
            name = self.free(plain.__name__)
            self.classes[plain] = name
            self.defs[name] = {}
            self.defs[name] = make()
        return {"$ref": f"#/$defs/{self.classes[plain]}"}

    def free(self, wanted):
        """A name for a definition that no other has, of characters that need no quoting in a $ref."""
        name = plainly = re.sub(r"[^A-Za-z0-9_]", "_", wanted)[:60]
        number = 2
        while name in self.defs:
            name, number = f"{plainly}{number}", number + 1
        return name

    def described(self, plain, schema):
        """Adds a class's docstring, but not the one that dataclass and its like make up."""
        doc = plain.__dict__.get("__doc__")
        if doc and not doc.startswith(plain.__name__ + "(") and doc != "An enumeration.":
            schema["description"] = inspect.cleandoc(doc)
        return schema

    def enumeration(self, plain):
        if issubclass(plain, enum.Flag):
            return self.described(plain, {"type": "integer"})
        return self.described(plain, constants(list(plain)))

    def dataclass(self, plain):
        hints = annotations.fields(plain)
        taken, required, later = annotations.dataclass_fields(plain)
        if self.output:
            taken = required = [field.name for field in dataclasses.fields(plain)]
        properties = {name: self.of(hints.get(name, typing.Any)) for name in taken}
        for name in later:
            properties.setdefault(name, dict(self.of(hints.get(name, typing.Any)), readOnly=True))
        return self.described(plain, closed(properties, required))

    def typed_dict(self, plain):
        properties = {name: self.of(hint) for name, hint in annotations.fields(plain).items()}
        return self.described(plain, closed(properties, sorted(getattr(plain, "__required_keys__", ()))))

    def named_tuple(self, plain):
        hints = annotations.fields(plain)
        items = [dict(self.of(hints.get(name, typing.Any)), title=name) for name in plain._fields]
        least = len(items) if self.output else len(items) - len(plain._field_defaults)
        return self.described(plain, fixed(items, least))

    def pydantic(self, plain):
        try:
            if hasattr(plain, "model_json_schema"):
                mode = "serialization" if self.output else "validation"
                schema = plain.model_json_schema(ref_template="#/$defs/{model}", mode=mode)
            else:
                schema = plain.schema(ref_template="#/$defs/{model}")
            schema = json.loads(json.dumps(schema))
        except Exception:  # a model with a field that pydantic itself cannot describe
            return {"type": "object", "description": text(plain)}
        own = {**schema.pop("definitions", {}), **schema.pop("$defs", {})}
        if any(name in self.defs and self.written.get(name) != inner for name, inner in own.items()):
            renamed = {}
            for name in own:  # another class has one of the names: all get new ones, since they refer to each other
                renamed[name] = self.free(name)
                self.defs[renamed[name]] = {}
            schema = with_refs(schema, renamed)
            own = {renamed[name]: with_refs(inner, renamed) for name, inner in own.items()}
        self.written.update(own)
        self.defs.update(own)
        return schema

    def annotated(self, annotation):
        schema = dict(self.of(annotation.__origin__))
        for extra in annotation.__metadata__:
            words = extra if isinstance(extra, str) else getattr(extra, "description", None)
            words = words or getattr(extra, "documentation", None)
            if isinstance(words, str):
                schema["description"] = words
        for extra in annotations.constraints(annotation.__metadata__):
            self.constrain(schema, extra)
        return schema

    def constrain(self, schema, extra):
        for attribute, keyword in _CONSTRAINTS:
            value = getattr(extra, attribute, None)
            if is_number(value) and (keyword != "multipleOf" or value > 0):
                schema[keyword] = value
        if isinstance(getattr(extra, "pattern", None), str):
            schema["pattern"] = extra.pattern
        of = {"array": "Items", "object": "Properties"}.get(schema.get("type"), "Length")
        for attribute, keyword in (("min_length", "min"), ("max_length", "max")):
            value = getattr(extra, attribute, None)
            if is_number(value) and isinstance(value, int) and value >= 0:
                schema[keyword + of] = value


def closed(properties, required):
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return schema


def fixed(items, least):
    """A list of known items. `items` says what any of them may be, for clients that ask for it."""
    kinds = [one for index, one in enumerate(items) if one not in items[:index]]
    schema = {"type": "array", "minItems": least, "maxItems": len(items)}
    if len(kinds) == 1:
        return dict(schema, items=kinds[0])
    return dict(schema, prefixItems=items, items={"anyOf": kinds})


_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def constants(members):
    found = []
    for member in map(plain_constant, members):
        if isinstance(member, (int, float)) and not isinstance(member, bool) and not is_number(member):
            member = str(member)[:100] if isinstance(member, float) else "(a large integer)"
        found.append(member)
    kinds = {_JSON_TYPES.get(type(member)) for member in found}
    return {"type": kinds.pop(), "enum": found} if len(kinds) == 1 else {"enum": found} if found else {}


def with_refs(tree, renamed):
    """The same with references to definitions under their new names."""
    if isinstance(tree, dict):
        return {name: with_refs(inner, renamed) for name, inner in tree.items()}
    if isinstance(tree, list):
        return [with_refs(inner, renamed) for inner in tree]
    if isinstance(tree, str) and tree.startswith("#/$defs/") and tree[8:] in renamed:
        return "#/$defs/" + renamed[tree[8:]]
    return tree


def finished(schema):
    """Fills in what others leave out: `items` of arrays. A number that JSON lacks goes."""
    if not isinstance(schema, dict):
        return schema
    done = {}
    for keyword, inner in schema.items():
        if isinstance(inner, (int, float)) and not isinstance(inner, bool) and not is_number(inner):
            continue
        if keyword in _ONE:
            inner = finished(inner)
        elif keyword in _LISTS and isinstance(inner, list):
            inner = [finished(one) for one in inner]
        elif keyword in _NAMED and isinstance(inner, dict):
            inner = {name: finished(one) for name, one in inner.items()}
        done[keyword] = inner
    kinds = done.get("type")
    if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
        done.setdefault("items", {})
    return done
