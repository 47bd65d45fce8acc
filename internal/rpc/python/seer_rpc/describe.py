"""What a function looks like from outside: its signature, its schemas, its words."""

import collections.abc
import enum
import inspect
import json
import keyword
import re
import typing

from . import annotations, schemas, values

_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional_only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional_or_keyword",
    inspect.Parameter.VAR_POSITIONAL: "var_positional",
    inspect.Parameter.KEYWORD_ONLY: "keyword_only",
    inspect.Parameter.VAR_KEYWORD: "var_keyword",
}

STREAMS = (
    collections.abc.Iterator, collections.abc.Generator,
    collections.abc.AsyncIterator, collections.abc.AsyncGenerator,
)

_LITERALS = (bool, float, bytes, complex, type(None))


class Unservable(Exception):
    """A function that cannot be served; the message names it and says why."""


def function(target, serial):
    """The description of one exposed function, as JSON-able data."""
    name = getattr(target, "__name__", None)
    check_name(name, target)
    signature, hints, returns = inspected(name, target)
    taken, results = schemas.Schemas(), schemas.Schemas(output=True)
    parameters = [parameter(item, hints[item.name], taken) for item in signature.parameters.values()]
    stream = streams(target, returns)
    annotation = item_of(returns) if stream else returns
    result = results.of(annotation)
    return {
        "name": name,
        "doc": inspect.getdoc(target) or "",
        "signature": shown(signature, parameters, returns),
        "async": inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target),
        "stream": stream,
        "eager": stream and not is_generator(target),
        "serial": serial,
        "parameters": parameters,
        "returns": {"annotation": annotations.text(returns), "type": annotations.tree(annotation)},
        "input_schema": taken.document(input_schema(parameters)),
        "output_schema": results.document({"type": "array", "items": result} if stream else result),
    }


def check_name(name, target):
    if inspect.isclass(target):
        raise Unservable(f"{name}: is a class; expose functions")
    if not callable(target):
        raise Unservable(f"{target!r:.80}: is not a function")
    if not isinstance(name, str):
        raise Unservable(f"{target!r:.80}: has no name; expose a function made by def")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Unservable(f"{name}: is not a name that a Python program can call; expose a function made by def")
    if name.startswith(("__", "_seer")):
        raise Unservable(f"{name}: names that start with __ or _seer are reserved")


def inspected(name, target):
    """The signature and the evaluated annotations."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError, NameError) as error:
        raise Unservable(f"{name}: has no signature that can be read ({error})") from None
    for item in signature.parameters:
        if item.startswith("_seer"):
            raise Unservable(f"{name}: parameter {item}: names that start with _seer are reserved")
    namespace = getattr(inspect.unwrap(target), "__globals__", {})
    hints = {item.name: annotations.evaluate(item.annotation, namespace) for item in signature.parameters.values()}
    returns = signature.return_annotation
    return signature, hints, annotations.evaluate(returns, namespace)


def streams(target, returns):
    """Whether items come one by one: of what a decorator makes of a generator, as far as annotations tell."""
    if is_generator(target) or typing.get_origin(returns) in STREAMS or returns in STREAMS:
        return True
    loose = typing.get_origin(returns) in (collections.abc.Iterable, collections.abc.AsyncIterable)
    return is_generator(inspect.unwrap(target)) and (loose or returns in (inspect.Parameter.empty, typing.Any))


def is_generator(target):
    return inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)


def item_of(returns):
    """T of Iterator[T], Generator[T, ...] and their like."""
    origin, args = typing.get_origin(returns), typing.get_args(returns)
    if origin in (*STREAMS, collections.abc.Iterable, collections.abc.AsyncIterable) and args:
        return args[0]
    return inspect.Parameter.empty


def parameter(item, hint, taken):
    variadic = item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
    described = {
        "name": item.name,
        "kind": _KINDS[item.kind],
        "annotation": annotations.text(item.annotation),
        "type": annotations.tree(hint),
        "required": item.default is item.empty and not variadic,
    }
    schema = taken.of(hint)
    if item.kind is item.VAR_POSITIONAL:
        schema = {"type": "array", "items": schema}
    elif item.kind is item.VAR_KEYWORD:
        schema = {"type": "object", "additionalProperties": schema or True}
    if item.default is not item.empty:
        described["default"] = default(item.default)
        if item.default is None and schema and not annotations.takes_none(hint):
            schema = {"anyOf": [schema, {"type": "null"}]}
        plain = schema_default(item.default)
        if plain is not None:
            schema = dict(schema, default=plain[0])
    described["schema"] = schemas.finished(schema)
    return described


def default(value):
    """A default that a library can write down, or only the text of it."""
    if literal(value):
        return {"value": json.loads(values.dumps(value)), "literal": True}
    return {"text": words(value)[:200], "literal": False}


def words(value):
    try:
        return str(value) if isinstance(value, enum.Enum) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


def literal(value, depth=0):
    if type(value) is int:
        return value.bit_length() <= schemas.MAX_INT_BITS
    if type(value) is str:
        return value.isascii() or not re.search("[\ud800-\udfff]", value)  # no JSON reader keeps half a character
    if type(value) in _LITERALS:
        return True
    if depth > 8:
        return False
    if type(value) in (tuple, list, set, frozenset):
        return len(value) <= 100 and all(literal(item, depth + 1) for item in value)
    if type(value) is dict:
        return len(value) <= 100 and all(literal(part, depth + 1) for pair in value.items() for part in pair)
    return False


def schema_default(value):
    """The plain JSON of a default, in a list, or None where it has none."""
    if not literal(value) and not isinstance(value, enum.Enum):
        return None
    try:
        return [json.loads(values.dumps(value, tagged=False))]
    except values.Unsendable:
        return None


def input_schema(parameters):
    """The one object that a call sends: *args is a list and **kwargs an object, under their names."""
    schema = {
        "type": "object",
        "properties": {item["name"]: item["schema"] for item in parameters},
        "additionalProperties": any(item["kind"] == "var_keyword" for item in parameters),
    }
    required = [item["name"] for item in parameters if item["required"]]
    if required:
        schema["required"] = required
    return schema


def shown(signature, parameters, returns):
    """The signature as a reader would write it, such as "(text: str, *, scale: float = 1.0) -> list"."""
    changed = []
    for item, described in zip(signature.parameters.values(), parameters):
        annotation = _Words(described["annotation"]) if described["annotation"] else item.empty
        value = item.default
        if value is not item.empty:
            value = _Words(repr(value) if described["default"]["literal"] else described["default"]["text"])
        changed.append(item.replace(annotation=annotation, default=value))
    result = _Words(annotations.text(returns)) if returns is not inspect.Signature.empty else inspect.Signature.empty
    return str(signature.replace(parameters=changed, return_annotation=result))


class _Words:
    def __init__(self, words):
        self.words = words

    def __repr__(self):
        return self.words
