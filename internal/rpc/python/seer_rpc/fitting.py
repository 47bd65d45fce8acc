"""Values made to fit annotations.

A caller of the library sends Python's own values: what an annotation plainly
asks for is made of them (a dataclass of a dict, an enum of its value), and the
rest stays, as Python itself would pass it on. Callers that know only JSON are
held to the annotations: a text that plainly means another value is read, and
what does not fit is refused in words that a model can act on.
"""

import base64
import binascii
import collections
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

from . import annotations

SAME, JSON, TEXT = 0, 1, 2  # what may be made of a value: nothing, what JSON writes so, also what a text plainly means

_WHOLE = re.compile(r"\s*[+-]?[0-9]+(\.0*)?\s*\Z")
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*\Z")
_NOT_FITTING = (ValueError, TypeError, ArithmeticError)


class Misfit(ValueError):
    """A value that an annotation rules out. `where` is its place inside the argument."""

    where = ""


class Fitter:
    """`makes` is what may be made of a value; `strict` refuses what does not fit then."""

    def __init__(self, makes, strict):
        self.makes = makes
        self.strict = strict

    def fit(self, value, hint):
        if hint is object or hint is typing.Any or hint is inspect.Parameter.empty:
            return value
        if isinstance(hint, (str, typing.ForwardRef)) or getattr(hint, "__unpacked__", False):
            return value
        if hint is None or hint is type(None):
            return None if value is None else self.misfit(value, "null")
        if hasattr(hint, "__metadata__"):
            fitted = self.fit(value, hint.__origin__)
            if self.strict:
                constrain(fitted, hint.__metadata__)
            return fitted
        within = annotations.unwrap(hint)
        if within is not hint:
            return self.fit(value, within)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in annotations.UNION_TYPES:
            return self.union(value, args)
        if origin is typing.Literal:
            return self.literal(value, args)
        plain = origin or hint
        if not isinstance(plain, type):
            return value
        args = tuple(arg for arg in args if arg != ())
        if plain in annotations.LIST_ORIGINS or plain in annotations.SET_ORIGINS or plain is tuple:
            return self.sequence(value, plain, args)
        if plain in annotations.DICT_ORIGINS:
            return self.mapping(value, plain, args)
        return self.scalar(value, plain) if plain in _SCALARS else self.instance(value, plain)

    def misfit(self, value, wanted):
        if self.strict:
            raise Misfit(f"expected {wanted}, got {shown(value)}")
        return value

    def within(self, step, value, hint):
        try:
            return self.fit(value, hint)
        except Misfit as error:
            error.where = step + error.where
            raise

    def read(self, value, *kinds):
        """The list or object that a text holds as JSON, or the value itself."""
        if self.makes < TEXT or not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
            return value
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return found if isinstance(found, kinds) else value

    def union(self, value, args):
        """All members are tried: first for a value that fits as it is, then for one that can be made to."""
        some = [arg for arg in args if arg is not type(None)]
        if len(some) < len(args) and value is None:
            return None
        if len(some) == 1:
            return self.fit(value, some[0])
        for makes in range(self.makes + 1):
            fitter = Fitter(makes, True)
            for arg in some:
                try:
                    return fitter.fit(value, arg)
                except _NOT_FITTING:
                    continue
        return self.misfit(value, " or ".join(annotations.text(arg) for arg in args))

    def literal(self, value, args):
        for arg in args:
            if type(arg) is type(value) and arg == value:
                return arg
        if self.makes >= JSON:
            for arg in args:
                if isinstance(arg, enum.Enum) and value in (arg.value, arg.name):
                    return arg
                if isinstance(arg, bytes) and value == base64.b64encode(arg).decode("ascii"):
                    return arg
                if type(arg) is int and type(value) is float and arg == value:
                    return arg
        if self.makes >= TEXT and isinstance(value, str):
            for arg in args:
                if not isinstance(arg, (str, bytes, enum.Enum)) and value.strip() == annotations.constant_text(arg):
                    return arg
        return self.misfit(value, "one of " + ", ".join(annotations.constant_text(arg) for arg in args))

    def sequence(self, value, plain, args):
        value = self.read(value, list)
        kept = is_instance(value, plain) and not isinstance(value, (str, bytes, bytearray, dict))
        if not kept and (self.makes < JSON or not isinstance(value, (list, tuple, set, frozenset))):
            return self.misfit(value, "a list")
        if plain is tuple and args and args[-1] is not Ellipsis:
            if len(args) != len(value):
                raise Misfit(f"expected {len(args)} items, got {len(value)}")
            items = [self.within(f"[{index}]", one, arg) for index, (one, arg) in enumerate(zip(value, args))]
        elif args and args[0] not in (typing.Any, object):
            items = [self.within(f"[{index}]", one, args[0]) for index, one in enumerate(value)]
        elif kept:
            return value
        else:
            items = value
        if kept:
            return items if type(value) is list else type(value)(items)
        if plain in annotations.SET_ORIGINS:
            return frozenset(items) if plain is frozenset else set(items)
        if plain is tuple or plain is collections.deque:
            return plain(items)
        return list(items) if self.strict else type(value)(items)

    def mapping(self, value, plain, args):
        value = self.read(value, dict)
        if not isinstance(value, dict) and not is_instance(value, plain):
            return self.misfit(value, "an object")
        if len(args) == 2 and isinstance(value, dict):
            keys = Fitter(max(self.makes, TEXT) if self.makes else SAME, self.strict)  # the keys of JSON are texts
            value = {
                keys.within(f"[{key!r:.60}]", key, args[0]): self.within(f"[{key!r:.60}]", item, args[1])
                for key, item in value.items()
            }
        if plain is collections.OrderedDict and self.makes and type(value) is dict:
            return collections.OrderedDict(value)
        if plain is collections.defaultdict and self.makes and type(value) is dict:
            return collections.defaultdict(None, value)
        return value

    def scalar(self, value, plain):
        wanted, is_one, makers = _SCALARS[plain]
        if is_one(value):
            return value
        for makes, maker in makers:
            if makes > self.makes:
                break
            try:
                made = maker(value)
            except Misfit:
                raise
            except _NOT_FITTING:
                raise Misfit(f"expected {wanted}, got {shown(value)}") from None
            if made is not None:
                return made
        return self.misfit(value, wanted)

    def instance(self, value, plain):
        if is_instance(value, plain):
            return value
        for base in (bool, int, float, str):
            if issubclass(plain, base) and not issubclass(plain, enum.Enum):
                return self.scalar(value, base)
        if annotations.is_pydantic(plain):
            return self.model(value, plain) if self.makes else self.misfit(value, plain.__name__)
        if annotations.is_typed_dict(plain) or dataclasses.is_dataclass(plain) or annotations.is_named_tuple(plain):
            return self.record(value, plain)
        if not self.makes:
            return self.misfit(value, annotations.text(plain))
        if issubclass(plain, enum.Enum):
            return self.member(value, plain)
        if issubclass(plain, pathlib.PurePath):
            return plain(value) if isinstance(value, str) else self.misfit(value, "a string")
        for name, module, make in (("numpy.ndarray", "numpy", "asarray"), ("torch.Tensor", "torch", "as_tensor")):
            if annotations.is_named(plain, name):
                value = self.read(value, list)
                if self.strict and not isinstance(value, (list, int, float)):
                    return self.misfit(value, "a list of numbers")
                return getattr(sys.modules[module], make)(value)
        return value  # a class that JSON has no form of: its function may know what to do

    def member(self, value, plain):
        try:
            return plain(value)
        except ValueError:
            pass
        if isinstance(value, str) and value in plain.__members__:
            return plain[value]
        for member in plain:
            if isinstance(value, list) and isinstance(member.value, tuple) and tuple(value) == member.value:
                return member
            if self.makes >= TEXT and isinstance(value, str) and annotations.constant_text(member.value) == value.strip():
                return member
        raise Misfit(f"{shown(value)} is none of {', '.join(plain.__members__)}")

    def model(self, value, plain):
        """A pydantic model, which takes what one of its kind was sent as."""
        validate = getattr(plain, "model_validate", None) or plain.parse_obj
        read = self.read(value, dict, list)
        if read is not value:
            try:
                return validate(value)
            except ValueError:
                pass  # the text is not meant as a text
        return validate(annotations.as_input(read, plain))

    def record(self, value, plain):
        value = self.read(value, dict, list)
        hints = annotations.fields(plain)
        if annotations.is_named_tuple(plain) and isinstance(value, (list, tuple)) and self.makes:
            least = len(plain._fields) - len(plain._field_defaults)
            if not least <= len(value) <= len(plain._fields):
                raise Misfit(f"expected {' and '.join(plain._fields)}, got {len(value)} items")
            named = zip(plain._fields, value)
            return plain(*(self.within(f".{name}", one, hints.get(name, object)) for name, one in named))
        if not isinstance(value, dict) or (not self.makes and not annotations.is_typed_dict(plain)):
            return self.misfit(value, "an object")
        if annotations.is_typed_dict(plain):
            if self.strict:
                check_names(value, list(hints), getattr(plain, "__required_keys__", ()))
            return {name: self.within(f"[{name!r:.60}]", item, hints.get(name, object)) for name, item in value.items()}
        if annotations.is_named_tuple(plain):
            required = [name for name in plain._fields if name not in plain._field_defaults]
            given = self.named(value, hints, plain._fields, required)
            return plain(**given)
        taken, required, later = annotations.dataclass_fields(plain)
        given = self.named(value, hints, [*taken, *later], required)
        made = plain(**{name: item for name, item in given.items() if name not in later})
        for name in later:
            if name in given:
                object.__setattr__(made, name, given[name])  # a frozen one takes no other way
        return made

    def named(self, value, hints, names, required):
        check_names(value, names, required)
        return {name: self.within(f".{name}", item, hints.get(name, object)) for name, item in value.items()}


def check_names(given, names, required):
    unknown = [str(name) for name in given if name not in names]
    if unknown:
        raise Misfit(f"unknown field {', '.join(unknown):.200}; there are {', '.join(map(str, names))}")
    missing = [name for name in names if name in required and name not in given]
    if missing:
        raise Misfit(f"missing field {', '.join(missing)}")


def constrain(value, metadata):
    """What annotated_types and pydantic say about a value."""
    for extra in annotations.constraints(metadata):
        for name, holds, words in _CONSTRAINTS:
            limit = getattr(extra, name, None)
            if limit is None:
                continue
            try:
                held = holds(value, limit)
            except TypeError:
                continue  # it is not for values of this kind
            if not held:
                raise Misfit(f"expected {words} {limit}, got {shown(value)}")


_CONSTRAINTS = (
    ("ge", lambda value, limit: value >= limit, "at least"),
    ("gt", lambda value, limit: value > limit, "more than"),
    ("le", lambda value, limit: value <= limit, "at most"),
    ("lt", lambda value, limit: value < limit, "less than"),
    ("multiple_of", lambda value, limit: value % limit == 0, "a multiple of"),
    ("min_length", lambda value, limit: len(value) >= limit, "a length of at least"),
    ("max_length", lambda value, limit: len(value) <= limit, "a length of at most"),
    ("pattern", lambda value, limit: re.search(limit, value) is not None, "a string that matches"),
)


def shown(value):
    """A value in the words of JSON, cut short."""
    if value is None or isinstance(value, bool):
        return annotations.constant_text(value)
    if isinstance(value, str):
        return "the string " + json.dumps(value if len(value) <= 60 else value[:60] + "...", ensure_ascii=False)
    if isinstance(value, (int, float)):
        return f"the number {annotations.constant_text(value):.60}"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"


def is_instance(value, plain):
    try:
        return isinstance(value, plain)
    except TypeError:
        return False  # a TypedDict, a Protocol: classes that cannot say


def _text(make):
    return lambda value: make(value) if isinstance(value, str) else None


def _bool(value):
    return bool(value) if type(value) in (int, float) and value in (0, 1) else None


def _bool_of_text(text):
    return {"true": True, "false": False}.get(text.strip().lower())


def _int(value):
    """Some writers of JSON know only one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _int_of_text(text):
    return int(text.partition(".")[0]) if _WHOLE.match(text) else None


def _float(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else None


def _float_of_text(text):
    return float(text) if _NUMBER.match(text) else None


def _bytes(value):
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misfit(f"expected bytes as base64: {error}") from None


def _bytearray(value):
    made = value if isinstance(value, bytes) else _bytes(value)
    return None if made is None else bytearray(made)


def _datetime(text):
    if text.endswith(("Z", "z")):
        text = text[:-1] + "+00:00"
    whole, dot, rest = text.partition(".")
    if dot:  # before 3.11 a fraction has three or six digits; others write up to nine
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{whole}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    return datetime.datetime.fromisoformat(text)


def _timedelta(value):
    return datetime.timedelta(seconds=value) if type(value) in (int, float) else None


def _timedelta_of_text(text):
    return datetime.timedelta(seconds=float(text)) if _NUMBER.match(text) else None


def _decimal(value):
    if type(value) not in (str, int, float):
        return None
    try:
        return decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        raise Misfit(f"expected a decimal number, got {shown(value)}") from None


def _complex(value):
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return complex(*(Fitter(JSON, True).fit(part, float) for part in value))
    return None


def _a(kind, *others):
    return lambda value: isinstance(value, kind) and not isinstance(value, others)


# What an annotation wants, what is one already, and what one can be made of.
_SCALARS = {
    bool: ("true or false", _a(bool), ((JSON, _bool), (TEXT, _text(_bool_of_text)))),
    int: ("an integer", _a(int, bool), ((JSON, _int), (TEXT, _text(_int_of_text)))),
    float: ("a number", _a(float), ((JSON, _float), (TEXT, _text(_float_of_text)))),
    str: ("a string", _a(str), ()),
    complex: ("a number or two", _a((complex, float, int), bool), ((JSON, _complex),)),
    bytes: ("bytes as base64", _a(bytes), ((JSON, _bytes),)),
    bytearray: ("bytes as base64", _a(bytearray), ((JSON, _bytearray),)),
    datetime.datetime: ("a date and time", _a(datetime.datetime), ((JSON, _text(_datetime)),)),
    datetime.date: ("a date", _a(datetime.date), ((JSON, _text(datetime.date.fromisoformat)),)),
    datetime.time: ("a time", _a(datetime.time), ((JSON, _text(datetime.time.fromisoformat)),)),
    datetime.timedelta: ("a number of seconds", _a(datetime.timedelta), ((JSON, _timedelta), (TEXT, _text(_timedelta_of_text)))),
    decimal.Decimal: ("a decimal number", _a(decimal.Decimal), ((JSON, _decimal),)),
    uuid.UUID: ("a UUID", _a(uuid.UUID), ((JSON, _text(uuid.UUID)),)),
    types.FunctionType: ("a function", _a(types.FunctionType), ()),
}
