"""An interface file as users write them."""

import asyncio
import math
import os
import time
from typing import Optional

GREETINGS = {"hi": [0.25, 0.5]}
print("loading the embeddings")


@expose
def get_embedding(text: str, *, scale: float = 1.0) -> list[float]:
    """Embeds a text.

    "Quotes" and \\ are fine.
    """
    return [scale * x for x in GREETINGS.get(text, [0.0])]


@expose
def fail(message: str):
    """Raises."""
    raise ValueError(message)


@expose
def describe(first, /, *rest: int, tau: float = math.tau, note: Optional[str] = None, **extra: str) -> dict:
    return {"first": first, "rest": list(rest), "tau": tau, "note": note, "extra": extra}


@expose
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


@expose
def count(to: int):
    """Counts."""
    for i in range(to):
        print("counted", i)
        yield i


@expose
def block(path: str) -> str:
    """Works until a file is there."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return path


@expose
def strange() -> list:
    return [math.nan, math.inf, b"\x00\xff", (1, 2)]


@expose
def big(size: int) -> str:
    return "x" * size


@expose
def crash():
    os._exit(3)


def hidden():
    return "not exposed"
