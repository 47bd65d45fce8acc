import asyncio
import concurrent.futures
import contextvars
import dataclasses
import datetime
import enum
import functools
import multiprocessing
import os
import typing
from typing import Annotated, Any, Dict, Iterator, List, Literal, NamedTuple, Optional, Tuple, TypedDict, Union


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclasses.dataclass
class Options:
    size: int
    name: str = "x"
    area: int = dataclasses.field(init=False)

    def __post_init__(self):
        self.area = self.size * self.size


@dataclasses.dataclass
class Circle:
    radius: float


class Movie(TypedDict):
    title: str


class AtLeast:
    def __init__(self, **limits):
        self.__dict__.update(limits)


class Guarded(dict):
    """Has a hook that fails in a way of its own, as validators of models may."""

    @classmethod
    def parse_obj(cls, value):
        raise KeyError("no validator")


@expose
def defaults(level: Level = None, options: Options = {}, day: datetime.date = "", x: Tuple[int, ...] = (), n: int = "auto",
             flag: bool = 0, mode: Literal["a", "b"] = "c", few: List[int] = None, *, at: Annotated[int, AtLeast(ge=5)] = 0):
    return [level, options, day, x, n, flag, mode, few, at]


@expose
def maybe(n: Optional[int] = 5, m: int = 6, free=7, any: Any = 8):
    return [n, m, free, any]


@expose
def typed(n: int = 1, f: float = 1.0, b: bool = False, s: str = "", l: List[int] = [], m: Dict[str, int] = {},
          o: Options = None, c: Literal["x", 3, None] = "x", p: Annotated[float, AtLeast(ge=0, lt=10)] = 0.5,
          w: Annotated[str, AtLeast(min_length=2, pattern="^a")] = "ab", t: Tuple[int, str] = (0, ""), v: Movie = None,
          e: Level = Level.LOW, d: datetime.date = None):
    return repr([n, f, b, s, l, m, o, c, p, w, t, v, e, d])


@expose
def unions(x: Union[Tuple[int, int], Tuple[int, int, int], List[Options], List[Circle], Dict[str, Options], Dict[str, Circle], int, str]):
    return repr(x)


@expose
def guarded(x: Guarded): return x


@expose
def echo(x): return x


@expose
def options(o: Options) -> Options: return o


marker = contextvars.ContextVar("marker", default="outside")


@expose
async def one_context(n: int):
    token = marker.set("inside")
    task = asyncio.current_task()
    try:
        for _ in range(n):
            yield [marker.get(), asyncio.current_task() is task]
    finally:
        marker.reset(token)


@expose
async def own_timeout():
    async def wait():
        await asyncio.sleep(3600)

    yield "first"
    try:
        await asyncio.wait_for(wait(), 0.05)
    except asyncio.TimeoutError:
        yield "late"


if hasattr(asyncio, "timeout"):
    @expose
    async def across():
        async with asyncio.timeout(0.05):
            n = 0
            while True:
                yield n
                n += 1


closed = []


@expose
async def endless():
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        closed.append(asyncio.current_task() is not None)


@expose
def how_closed(): return closed


@expose
async def makes_items():
    return one_context_plain()


async def one_context_plain():
    yield 1
    yield 2


@expose
def group():
    error = ValueError("one")
    if hasattr(error, "add_note"):
        error.add_note("a note")
    raise ExceptionGroup("several", [error, OSError(2, "gone", "/file"), ExceptionGroup("inner", [KeyError("k")])])


@expose
def missing_file():
    open("/nothing/here")


@expose
def noted():
    error = RuntimeError("x" * 1_000_000)
    error.__notes__ = ["first", "second"]
    raise error


@expose
def strange():
    class Strange(Exception):
        @property
        def __notes__(self):
            raise RuntimeError("no notes")

        def __str__(self):
            raise KeyError("no text")

    raise Strange


def joined(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return "".join(f(*args, **kwargs))

    return inner


def passed(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs)

    return inner


@expose
@joined
def letters(n: int):
    for i in range(n):
        yield "abc"[i]


@expose
@passed
def still_letters(n: int) -> Iterator[str]:
    for i in range(n):
        yield "abc"[i]


@expose
def square(n): return n * n


@expose
def spawned():
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [list(pool.map(square, range(3))), pool.submit(options_of, 4).result().area]


def options_of(n):
    return Options(n)


@expose
def fork(raises: int = 0):
    child = os.fork()
    if child == 0:
        if raises:
            raise SystemExit(raises)
        return "child"
    return ["parent", os.waitpid(child, 0)[1] >> 8]


@expose
def fork_items():
    child = os.fork()
    yield "child" if child == 0 else "parent"
    if child:
        yield os.waitpid(child, 0)[1]


@expose
async def fork_async():
    child = os.fork()
    if child == 0:
        return "child"
    return ["parent", os.waitpid(child, 0)[1]]
