"""How Python values travel as JSON.

The same file runs in the server and in the generated library. What JSON cannot
say is written as an object with one key that starts with "$":

    {"$float": "nan"}           nan, inf and -inf
    {"$bytes": "<base64>"}      bytes, bytearray and memoryview
    {"$tuple": [...]}           tuple; likewise $set and $frozenset
    {"$datetime": "<ISO>"}      likewise $date and $time
    {"$timedelta": [days, seconds, microseconds]}
    {"$complex": [re, im]}      {"$decimal": "1.5"}  {"$uuid": "..."}  {"$path": "..."}
    {"$ndarray": {"dtype": "<f4", "shape": [2, 3], "data": "<base64>"}}
    {"$dict": [[key, value]]}   a dict with a key that is no string or starts with "$"

The plain form has no tags: what has no JSON of its own becomes the nearest
thing that a reader without Python expects. Standard library only, 3.9 and up.
"""

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import sys
import uuid
from typing import Any, Callable, Dict, List

_write = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode  # made once: making it costs more than a call
_ATOMS = frozenset({str, int, bool, type(None)})


class Malformed(ValueError):
    """Bytes that are no JSON, or no value of ours."""


class Unsendable(TypeError):
    """A value that has no JSON form. `where` is its place inside the whole."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = ""

    def within(self, step: str) -> "Unsendable":
        self.where = step + self.where
        return self


def dumps(value: Any, tagged: bool = True, arrays: bool = False) -> bytes:
    """JSON bytes of a value; with `arrays`, arrays are sent as base64."""
    try:
        tree = _Encoder(tagged, arrays).encode(value)
        return _write(tree).encode("ascii")
    except RecursionError:
        raise Unsendable("is nested too deeply or contains itself") from None


def loads(data: bytes) -> Any:
    """The value of tagged (or plain) JSON bytes; a ValueError where they are none."""
    if b'"$' not in data:
        return json.loads(data)
    try:
        return json.loads(data, object_pairs_hook=_untag_pairs)
    except (ValueError, RecursionError):
        raise
    except Exception as error:  # a tag whose body is of another kind
        raise ValueError(f"malformed value: {error!r}") from None


class _Encoder:
    def __init__(self, tagged: bool, arrays: bool) -> None:
        self.tagged = tagged
        self.arrays = arrays

    def encode(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is float:
            return value if math.isfinite(value) else self.special(value)
        if kind is list:
            return self.items(value)
        if kind is dict:
            return self.mapping(value)
        if kind is tuple:
            return self.tag("$tuple", self.items(value))
        return self.other(value)

    def tag(self, name: str, body: Any, plain: Any = None) -> Any:
        if self.tagged:
            return {name: body}
        return body if plain is None else plain

    def special(self, value: float) -> Any:
        if math.isnan(value):
            return self.tag("$float", "nan", "NaN")
        if value > 0:
            return self.tag("$float", "inf", "Infinity")
        return self.tag("$float", "-inf", "-Infinity")

    def items(self, values: Any) -> List[Any]:
        kinds = set(map(type, values))
        if kinds <= _ATOMS or (kinds == {float} and all(map(math.isfinite, values))):
            return values if type(values) is list else list(values)
        encoded = []
        for index, item in enumerate(values):
            try:
                encoded.append(self.encode(item))
            except Unsendable as error:
                raise error.within(f"[{index}]")
        return encoded

    def mapping(self, value: Any) -> Any:
        plain = all(type(key) is str and not key.startswith("$") for key in value)
        if plain or not self.tagged:
            return {self.key(key): self.entry(key, item) for key, item in value.items()}
        return {"$dict": [[self.encode(key), self.entry(key, item)] for key, item in value.items()]}

    def entry(self, key: Any, item: Any) -> Any:
        try:
            return self.encode(item)
        except Unsendable as error:
            raise error.within(f"[{key!r:.60}]")

    def key(self, key: Any) -> str:
        if isinstance(key, enum.Enum):
            key = key.value
        if isinstance(key, str):
            return str(key)
        encoded = self.encode(key)
        return encoded if isinstance(encoded, str) else json.dumps(encoded)

    def other(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return self.encode(value.value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.tag("$bytes", base64.b64encode(value).decode("ascii"))
        if isinstance(value, datetime.datetime):
            if value != value:  # pandas has one that is no time
                return None
            return self.tag("$datetime", datetime.datetime.isoformat(value))  # its own may write nanoseconds
        if isinstance(value, datetime.date):
            return self.tag("$date", value.isoformat())
        if isinstance(value, datetime.time):
            return self.tag("$time", value.isoformat())
        if isinstance(value, datetime.timedelta):
            return self.tag("$timedelta", [value.days, value.seconds, value.microseconds], value.total_seconds())
        if isinstance(value, complex):
            return self.tag("$complex", [self.encode(value.real), self.encode(value.imag)])
        if isinstance(value, decimal.Decimal):
            return self.tag("$decimal", str(value))
        if isinstance(value, uuid.UUID):
            return self.tag("$uuid", str(value))
        if isinstance(value, pathlib.PurePath):
            return self.tag("$path", str(value))
        if isinstance(value, frozenset):
            return self.tag("$frozenset", self.items(value))
        if isinstance(value, collections.abc.Set):
            return self.tag("$set", self.items(value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return self.mapping({name: getattr(value, name) for name in names})
        return self.duck(value)

    def duck(self, value: Any) -> Any:
        """Values of libraries that need not be installed, and subclasses of plain types."""
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return self.encode(float(value))
        module = type(value).__module__.partition(".")[0]
        if module == "torch" and hasattr(value, "detach"):
            return self.tensor(value)
        if hasattr(value, "dtype") and hasattr(value, "tolist"):
            return self.array(value)
        if callable(getattr(value, "model_dump", None)):
            return self.encode(value.model_dump(by_alias=True))
        if hasattr(type(value), "__fields__") and callable(getattr(value, "dict", None)):
            return self.encode(value.dict(by_alias=True))
        if isinstance(value, tuple):
            return self.tag("$tuple", self.items(value))
        if isinstance(value, collections.abc.Mapping):
            return self.mapping(value)
        if isinstance(value, (range, collections.abc.Sequence, collections.deque, collections.abc.ValuesView)):
            return self.items(list(value))
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if module == "builtins":
            name = type(value).__qualname__
        raise Unsendable(f"is of type {name}, which has no JSON form")

    def tensor(self, value: Any) -> Any:
        value = value.detach().cpu()
        if self.arrays:
            try:
                return self.array(value.numpy())
            except (RuntimeError, TypeError):
                pass  # no numpy, or a dtype that numpy lacks, such as bfloat16
        return self.encode(value.tolist())

    def array(self, value: Any) -> Any:
        kind = getattr(value.dtype, "kind", "O")
        if callable(getattr(value, "filled", None)) and hasattr(value, "mask"):
            return self.encode(value.tolist())  # None for what is masked, which no buffer says
        if kind in "fc" and value.dtype.itemsize > (8 if kind == "f" else 16):
            value = value.astype(kind + ("8" if kind == "f" else "16"))  # longer ones differ by machine
        if self.tagged and self.arrays and kind in "biufc" and getattr(value, "ndim", 0) > 0:
            data = base64.b64encode(value.tobytes()).decode("ascii")
            return {"$ndarray": {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}}
        if kind in "Mm" and value.dtype.str.endswith(("[ns]", "[ps]", "[fs]", "[as]")):  # else they become plain numbers
            value = value.astype(value.dtype.str[:3] + "[us]")
        listed = value.tolist()
        if type(listed) is type(value):
            raise Unsendable(f"has dtype {value.dtype}, which has no JSON form")
        return self.encode(listed)


def _hashed(make: Callable[[Any], Any], body: List[Any]) -> Any:
    """Elements such as dataclasses arrive as dicts, which no set can hold: then a list."""
    try:
        return make(body)
    except TypeError:
        return body


def _timedelta(body: Any) -> datetime.timedelta:
    days, seconds, microseconds = body
    return datetime.timedelta(days, seconds, microseconds)


def _ndarray(body: Dict[str, Any]) -> Any:
    data = base64.b64decode(body["data"])
    dtype, shape = str(body["dtype"]), [int(size) for size in body["shape"]]
    try:
        numpy: Any = __import__("numpy")
    except ImportError:
        numpy = None
    if numpy is not None:
        if numpy.dtype(dtype).hasobject:
            raise ValueError("an array of objects cannot be received")
        return numpy.frombuffer(data, dtype=dtype).reshape(shape).copy()
    order = {"<": "little", ">": "big"}.get(dtype[0], sys.byteorder)
    code = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
            "f4": "f", "f8": "d", "b1": "?"}.get(dtype[1:])
    if code is None or order != sys.byteorder:
        raise ValueError(f"an array of dtype {dtype} needs numpy to be received")
    if 0 in shape:
        return []
    view: Any = memoryview(data)
    return view.cast(code, shape=shape).tolist()


_DECODERS: Dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$tuple": tuple,
    "$set": lambda body: _hashed(set, body),
    "$frozenset": lambda body: _hashed(frozenset, body),
    "$datetime": datetime.datetime.fromisoformat,
    "$date": datetime.date.fromisoformat,
    "$time": datetime.time.fromisoformat,
    "$timedelta": _timedelta,
    "$complex": lambda body: complex(*body),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$path": pathlib.PurePosixPath if sys.platform == "win32" else pathlib.Path,
    "$ndarray": _ndarray,
    "$dict": lambda body: _hashed(dict, body),
}


def _untag_pairs(pairs: Any) -> Any:
    if len(pairs) == 1:
        name, body = pairs[0]
        if name.startswith("$") and name in _DECODERS:
            return _DECODERS[name](body)
    return dict(pairs)
