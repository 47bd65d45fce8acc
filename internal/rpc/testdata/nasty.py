from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import math
import pathlib
import time
import typing
import uuid
from typing import Any, Callable, Dict, Iterator, List, Literal, NamedTuple, NewType, Optional, Tuple, TypedDict, Union

if typing.TYPE_CHECKING:
    import torch


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    """A point."""

    x: float
    y: float = 0.0
    tags: List[str] = dataclasses.field(default_factory=list)
    next: Optional[Point] = None


class Movie(TypedDict, total=False):
    title: str
    year: int


class Pair(NamedTuple):
    left: int
    right: str = "r"


UserID = NewType("UserID", int)
HERE = object()
builtins_int, builtins_float = type(1), type(1.0)


@expose
def positional_only(a, b=2, /, c=3):
    return [a, b, c]


@expose
def keyword_only(*, a: int, b: float = math.pi, c: int = -1):
    return [a, b, c]


@expose
def everything(a, /, b, c=3, *args: int, d, e: str = "e", **kwargs: Any):
    return [a, b, c, list(args), d, e, kwargs]


@expose
def positional_name_in_kwargs(a, /, **kwargs):
    return [a, kwargs]


@expose
def defaults(
    a: float = math.inf,
    b: float = float("nan"),
    c: Tuple[int, str] = (1, "x"),
    d: Color = Color.RED,
    e: bytes = b"\x00\"'\\",
    f: Dict[str, List[int]] = {"k": [1]},
    g: object = HERE,
    h: Callable[[], int] = len,
    i: str = "quotes \"\"\" ''' \\ \n \u2028 \U0001f600",
    j: set = {1},
    k: int = None,
    l: complex = 1 + 2j,
    m: Optional[Literal["a", 3, b"x", None]] = 3,
    n: Any = ((), (1,), {(1, 2): {"$bytes": 1}}),
    o: datetime.timedelta = datetime.timedelta(seconds=5),
    p: int = 2.5,
):
    return [a, math.isnan(b), c, d.name, e, f, g is HERE, h is len, i, j, k, l, m, n, o.total_seconds(), p]


@expose
def unknown_types(x: torch.Tensor = None, y: "list[Foo]" = (), z: Foo | None = None, *a: torch.nn.Module) -> torch.Tensor:
    return [x, y, z, a]


class Speechless:
    def __repr__(self):
        raise RuntimeError("no words")


class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2


@expose
def odd_defaults(a=Speechless(), b="\udc80", c=10**400, d: Mode = Mode.READ | Mode.WRITE, e=10**5000):
    return [type(a).__name__, b == "\udc80", c == 10**400, d == 3, e == 10**5000]


@expose
def clashes(self, cls, function, arguments, name, call, json, list, dict, typing, Any, default, _values, print, type):
    return sorted(locals())


@expose
def datetime_of(when: datetime.datetime, day: datetime.date) -> datetime.timedelta:
    return when - datetime.datetime(day.year, day.month, day.day)


@expose
def docstring():
    """Ends with quotes "and" \\ backslash \N{SNOWMAN}

    '''triple''' and \"\"\"triple\"\"\"
    {braces} %s $dollar `ticks`
    a tab	and a control \x07"""


@expose
def docstring_plain():
    """One line.

    Args:
        nothing: at all

    and more."""


@expose
def docstring_quote():
    'ends in a quote"'


@expose
async def coroutine(x: float = 0.01) -> str:
    await asyncio.sleep(x)
    return "done"


@expose
def generator(n: builtins_int) -> Iterator[Tuple[builtins_int, str]]:
    for i in range(n):
        yield i, str(i)


@expose
async def async_generator(n) -> typing.AsyncIterator[float]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i / 2


@expose
def broken_generator(n):
    yield n
    raise LookupError("after the first")


@expose
def iterator(n) -> Iterator[str]:
    return map(str, range(n))


@expose
def loose_iterator(n):
    return (i for i in range(n))


def logged(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs)

    return inner


@expose
@logged
def wrapped(a: str, *, b: typing.Sequence[builtins_float] = ()) -> Dict[str, Any]:
    return {"a": a, "b": b}


@expose
@functools.lru_cache(maxsize=None)
def cached(a: str = "x") -> str:
    return a


@expose
@logged
async def wrapped_coroutine(a):
    return a


class Holder:
    def __init__(self):
        self.hidden = 5

    def method(self, a: str = "m") -> str:
        """A bound method."""
        return a * self.hidden


expose(Holder().method)


@expose
def grüße(größe: typing.Union[str, bytes, None] = None):
    return größe


@expose
def नाम(कीमत: builtins_int = 1, Ⅷ=8):
    return [कीमत, Ⅷ]


@expose
def records(point: Point, color: Color, movie: Movie, pair: Pair, points: List[Point], by_color: Dict[Color, builtins_int]) -> Point:
    assert isinstance(point, Point) and all(isinstance(p, Point) for p in points), (point, points)
    assert isinstance(pair, Pair) and isinstance(color, Color)
    return Point(point.x + pair.left, tags=[color.name, movie["title"]] + [c.name for c in by_color], next=point)


@expose
def scalars(
    a: bytes, b: datetime.datetime, c: datetime.date, d: datetime.time, e: datetime.timedelta, f: decimal.Decimal,
    g: uuid.UUID, h: pathlib.Path, i: frozenset, j: complex, k: float, l: UserID, m: typing.Annotated[builtins_float, "note"],
    n: Union[datetime.date, str, None], o: Tuple[float, ...], p: collections.deque,
):
    return [type(value).__name__ for value in (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)]


@expose
def echo(value):
    return value


class Stamp(datetime.datetime):
    """Such as pandas has."""

    def isoformat(self):
        return super().isoformat() + "000"


class NoTime(Stamp):
    __eq__, __ne__, __hash__ = lambda self, other: False, lambda self, other: True, None


@expose
def stamps():
    return [Stamp(2024, 1, 2, 3, 4, 5, 6), NoTime(1, 1, 1)]


@expose
def same_type(value: Any) -> str:
    return repr(value)


@expose
def fail(kind: str, message: str = "no"):
    raise {"ValueError": ValueError, "Own": OwnError, "KeyError": KeyError, "OSError": OSError, "Stop": StopIteration,
           "Unicode": lambda m: "\udcff".encode(), "Base": OwnBase, "Exit": SystemExit, "Weird": Weird}[kind](message)


class OwnError(ValueError):
    pass


class OwnBase(BaseException):
    pass


class Weird(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@expose
def unsendable():
    return {"rows": [1, {"lock": HERE}]}


@expose
def circular():
    value = []
    value.append(value)
    return value


@expose
def generator_of_unsendable():
    yield 1
    yield HERE


@expose(serial=True)
def alone(seconds: builtins_float) -> Tuple[builtins_float, builtins_float]:
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


@expose()
def together(seconds: builtins_float) -> Tuple[builtins_float, builtins_float]:
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic()


@expose
def int(str: str) -> Optional[builtins_int]:
    """Named as a builtin."""
    return len(str)


@expose
def Optional(x: typing.Optional[float] = None) -> typing.List[str]:
    return [repr(x)]
