"""What the agent may do: three functions over a handful of word vectors.

The vectors stand for a model. With one, the module would load it here, once:

    model = AutoModel.from_pretrained(get_model_path("google/gemma-2-9b"))
"""

import math
from typing import Iterator, Literal

print("loading the vectors")
VECTORS = {
    "king": [0.9, 0.8, 0.1],
    "queen": [0.9, 0.1, 0.8],
    "man": [0.1, 0.9, 0.1],
    "woman": [0.1, 0.1, 0.9],
}


def norm(vector: list[float]) -> float:  # not exposed: nobody outside can call it
    return math.sqrt(sum(x * x for x in vector))


@expose
def get_embedding(text: str) -> list[float]:
    """Embeds a word. Unknown words are a KeyError."""
    return VECTORS[text]


@expose
def similarity(a: str, b: str, *, measure: Literal["cosine", "dot"] = "cosine") -> float:
    """Says how alike two words are."""
    dot = sum(x * y for x, y in zip(VECTORS[a], VECTORS[b]))
    return dot if measure == "dot" else dot / norm(VECTORS[a]) / norm(VECTORS[b])


@expose
def neighbours(text: str) -> Iterator[tuple[str, float]]:
    """Yields the other words, nearest first."""
    others = [word for word in VECTORS if word != text]
    for word in sorted(others, key=lambda other: -similarity(text, other)):
        yield word, similarity(text, word)
