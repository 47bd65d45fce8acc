"""From the JSON object of a call to the arguments of a function.

Callers that know only JSON (an MCP client, a Go program) send plain values
where a function expects a date, an enum or an array, so values are fitted to
the annotations. What already fits, and what no annotation asks for, stays.
"""

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import sys
import typing
import uuid

from . import annotations

_SCALARS = (str, bool, object, type(None), typing.Any, inspect.Parameter.empty)


class BadArguments(TypeError):
    """What a caller sent does not fit; the message names the function and the parameter."""


class Binder:
    """Binds JSON objects to one function's signature."""

    def __init__(self, name, target):
        self.name = name
        self.parameters = list(inspect.signature(target).parameters.values())
        namespace = getattr(inspect.unwrap(target), "__globals__", {})
        self.hints = {item.name: annotations.evaluate(item.annotation, namespace) for item in self.parameters}

    def bind(self, given):
        """The positional and the keyword arguments."""
        given = dict(given)
        positional, keywords, extra = [], {}, None
        for item in self.parameters:
            if item.kind is item.VAR_KEYWORD:
                extra = item
            elif item.kind is item.VAR_POSITIONAL:
                positional += self.rest(item, given.pop(item.name, []))
            elif item.name not in given:
                if item.default is item.empty:
                    self.fail(f"missing argument {item.name}")
                if item.kind is item.KEYWORD_ONLY:
                    continue
                positional.append(item.default)
            else:
                value = self.fit(item.name, given.pop(item.name), self.hints[item.name])
                if item.kind is item.KEYWORD_ONLY:
                    keywords[item.name] = value
                else:
                    positional.append(value)
        self.spread(extra, given, keywords)
        return positional, keywords

    def rest(self, item, value):
        if not isinstance(value, (list, tuple)):
            self.fail(f"*{item.name} takes a list")
        return [self.fit(f"{item.name}[{index}]", one, self.hints[item.name]) for index, one in enumerate(value)]

    def spread(self, extra, given, keywords):
        """What is left goes to **kwargs: an object under its name, or loose names."""
        if extra is None:
            if given:
                self.fail("unknown argument " + ", ".join(sorted(given)))
            return
        nested = given.pop(extra.name, {})
        if not isinstance(nested, dict) or not all(isinstance(key, str) for key in nested):
            self.fail(f"**{extra.name} takes an object")
        for name, value in {**given, **nested}.items():
            if name in keywords:
                self.fail(f"{name} was given twice")
            keywords[name] = self.fit(f"{extra.name}[{name!r:.60}]", value, self.hints[extra.name])

    def fit(self, where, value, hint):
        try:
            return fit(value, hint)
        except Misfit as error:
            self.fail(f"argument {where}{error.where}: {error}")
        except (ValueError, TypeError, ArithmeticError) as error:
            self.fail(f"argument {where}: {error}")

    def fail(self, reason):
        raise BadArguments(f"{self.name}: {reason}")


class Misfit(ValueError):
    """A value that an annotation rules out. `where` is its place inside the argument."""

    where = ""


def fit(value, hint):
    for scalar in _SCALARS:  # not `in`: a hint's == may be anything
        if hint is scalar:
            return value
    if isinstance(hint, (str, typing.ForwardRef)):
        return value
    hint = annotations.strip(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in annotations.UNION_TYPES:
        return fit_union(value, args)
    if origin is typing.Literal:
        return fit_literal(value, args)
    plain = origin or hint
    if not isinstance(plain, type):
        return value
    if plain in annotations.LIST_ORIGINS or plain in annotations.SET_ORIGINS or plain is tuple:
        return fit_sequence(value, plain, args)
    if plain in annotations.DICT_ORIGINS:
        return fit_mapping(value, args)
    return fit_class(value, plain)


def fit_union(value, args):
    if value is None and type(None) in args:
        return None
    for arg in args:
        plain = typing.get_origin(arg) or arg
        if isinstance(plain, type) and plain is not object and is_instance(value, plain):
            return fit(value, arg)
    for arg in args:
        try:
            fitted = fit(value, arg)
        except (ValueError, TypeError, ArithmeticError):
            continue
        if fitted is not value:
            return fitted
    return value


def fit_literal(value, args):
    for arg in args:
        if isinstance(arg, enum.Enum) and value in (arg.value, arg.name):
            return arg
    return value


def fit_sequence(value, plain, args):
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, (list, tuple, set, frozenset)):
        return value
    items = value
    args = [arg for arg in args if arg != ()]
    if plain is tuple and args and args[-1] is not Ellipsis:
        if len(args) != len(value):
            raise Misfit(f"expected {len(args)} items, got {len(value)}")
        items = [at(f"[{index}]", one, arg) for index, (one, arg) in enumerate(zip(value, args))]
    elif args and not any(args[0] is scalar for scalar in _SCALARS):
        items = [at(f"[{index}]", one, args[0]) for index, one in enumerate(value)]
    if plain is tuple:
        return tuple(items)
    if plain in annotations.SET_ORIGINS:
        return frozenset(items) if plain is frozenset else set(items)
    if plain is collections.deque:
        return collections.deque(items)
    return items


def at(step, value, hint):
    try:
        return fit(value, hint)
    except Misfit as error:
        error.where = step + error.where
        raise


def fit_mapping(value, args):
    if not isinstance(value, dict) or len(args) != 2:
        return value
    return {fit_key(key, args[0]): at(f"[{key!r:.60}]", item, args[1]) for key, item in value.items()}


def fit_key(key, hint):
    """JSON's keys are strings: dict[int, str] gets its numbers back."""
    hint = annotations.strip(hint)
    if isinstance(key, str) and hint in (int, float):
        return hint(key)
    return fit(key, hint)


def is_instance(value, plain):
    try:
        return isinstance(value, plain)
    except TypeError:
        return False  # a TypedDict, a Protocol: classes that cannot say


def fit_class(value, plain):
    if is_instance(value, plain):
        return value
    if plain in _FITTERS:
        return _FITTERS[plain](value)
    if issubclass(plain, enum.Enum):
        return fit_enum(value, plain)
    if issubclass(plain, pathlib.PurePath):
        return plain(value) if isinstance(value, str) else value
    if annotations.is_named(plain, "numpy.ndarray"):
        return sys.modules["numpy"].asarray(value)
    if annotations.is_named(plain, "torch.Tensor"):
        return sys.modules["torch"].as_tensor(value)
    if annotations.is_pydantic(plain):
        validate = getattr(plain, "model_validate", None) or plain.parse_obj
        return validate(value)
    return fit_record(value, plain)


def fit_record(value, plain):
    if annotations.is_named_tuple(plain) and isinstance(value, (list, tuple)):
        hints = annotations.fields(plain)
        return plain(*(at(f".{name}", one, hints.get(name, object)) for name, one in zip(plain._fields, value)))
    if not isinstance(value, dict):
        return value
    if annotations.is_typed_dict(plain):
        hints = annotations.fields(plain)
        return {name: at(f"[{name!r:.60}]", item, hints.get(name, object)) for name, item in value.items()}
    if dataclasses.is_dataclass(plain) or annotations.is_named_tuple(plain):
        hints = annotations.fields(plain)
        return plain(**{name: at(f".{name}", item, hints.get(name, object)) for name, item in value.items()})
    return value


def fit_enum(value, plain):
    try:
        return plain(value)
    except ValueError:
        pass
    if isinstance(value, str) and value in plain.__members__:
        return plain[value]
    for member in plain:
        if isinstance(value, list) and isinstance(member.value, tuple) and tuple(value) == member.value:
            return member
    raise Misfit(f"is none of {', '.join(plain.__members__)}")


def fit_float(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return value


def fit_int(value):
    """Some writers of JSON know only one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def fit_bytes(value):
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def fit_bytearray(value):
    return bytearray(fit_bytes(value)) if isinstance(value, (str, bytes)) else value


def fit_datetime(value):
    if not isinstance(value, str):
        return value
    text = value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value
    whole, dot, rest = text.partition(".")
    if dot:  # before 3.11 a fraction has three or six digits; others write up to nine
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{whole}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    return datetime.datetime.fromisoformat(text)


def from_text(make):
    return lambda value: make(value) if isinstance(value, str) else value


def fit_timedelta(value):
    return datetime.timedelta(seconds=value) if isinstance(value, (int, float)) else value


def fit_decimal(value):
    return decimal.Decimal(str(value)) if isinstance(value, (str, int, float)) else value


def fit_complex(value):
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return complex(*value)
    return value


_FITTERS = {
    int: fit_int,
    float: fit_float,
    bytes: fit_bytes,
    bytearray: fit_bytearray,
    datetime.datetime: fit_datetime,
    datetime.date: from_text(datetime.date.fromisoformat),
    datetime.time: from_text(datetime.time.fromisoformat),
    datetime.timedelta: fit_timedelta,
    decimal.Decimal: fit_decimal,
    uuid.UUID: from_text(uuid.UUID),
    complex: fit_complex,
}
