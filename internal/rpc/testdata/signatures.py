"""Makes functions at random, and what callers of every kind get of them: Python's own answer to the same call.

`python signatures.py SEED COUNT` writes one JSON object: the source of an
interface file, a program for its library, and calls in plain JSON with the
`repr` that each must give.
"""

import json
import random
import sys

HEAD = """
import dataclasses, datetime, enum
from typing import *

class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"

@dataclasses.dataclass
class Span:
    start: int
    end: int = 0

class Movie(TypedDict):
    title: str
"""

# An annotation, the value that Python passes, its JSON, and a text that means the same, or None.
KINDS = [
    ("int", "7", "7", '"7"'), ("int", "-3", "-3", '" -3 "'), ("int", str(2**70), str(2**70), f'"{2**70}"'),
    ("float", "1.5", "1.5", '"1.5"'), ("float", "2.0", "2", '"2"'), ("float", "float('inf')", '"Infinity"', None),
    ("bool", "True", "true", '"true"'), ("bool", "False", "false", '"False"'),
    ("str", "'[1]'", '"[1]"', None), ("str", "''", '""', None), ("str", "'ü\\u2028'", '"\\u00fc\\u2028"', None),
    ("List[int]", "[1, 2]", "[1,2]", '"[1, 2]"'), ("List[str]", "['a']", '["a"]', '"[\\"a\\"]"'), ("list", "[1, 'a', None]", '[1,"a",null]', '"[1, \\"a\\", null]"'),
    ("Tuple[int, str]", "(1, 'x')", '[1,"x"]', '"[1, \\"x\\"]"'), ("Tuple[int, ...]", "(1, 2, 3)", "[1,2,3]", None),
    ("Set[int]", "{1}", "[1]", '"[1]"'), ("Dict[str, float]", "{'a': 1.0}", '{"a":1}', '"{\\"a\\": 1}"'), ("Dict[int, str]", "{1: 'a'}", '{"1":"a"}', None),
    ("Optional[int]", "None", "null", None), ("Optional[int]", "5", "5", '"5"'), ("Union[int, List[int]]", "[1]", "[1]", '"[1]"'),
    ("Union[Tuple[int, int], Tuple[int, int, int]]", "(1, 2, 3)", "[1,2,3]", None), ("Union[List[Span], List[Movie]]", "[{'title': 't'}]", '[{"title":"t"}]', None),
    ("Literal['a', 3]", "'a'", '"a"', None), ("Literal['a', 3]", "3", "3", '"3"'), ("bytes", "b'hi'", '"aGk="', None),
    ("Level", "Level.HIGH", '"high"', '"HIGH"'), ("Span", "Span(1, 2)", '{"start":1,"end":2}', '"{\\"start\\": 1, \\"end\\": 2}"'),
    ("Span", "Span(1)", '{"start":"1"}', None), ("Movie", "{'title': 't'}", '{"title":"t"}', '"{\\"title\\": \\"t\\"}"'),
    ("datetime.date", "datetime.date(2024, 1, 2)", '"2024-01-02"', None), ("datetime.timedelta", "datetime.timedelta(seconds=5)", "5", '"5"'),
    ("Any", "{'$set': [1]}", '{"$set":[1]}', None), ("Any", "[{'$date': 'x'}]", '[{"$date":"x"}]', None), ("", "{'$bytes': 1, 'b': None}", '{"$bytes":1,"b":null}', None),
]
DEFAULTS = ["None", "''", "()", "{}", "0", "'auto'", "1.5", "[]", "True"]
LOCAL = ("Level.", "Span(", "datetime.")  # what only the interface file can name


def parameters(pick):
    """The parameters of one function: name, kind, annotation, default, and the value of a call or None."""
    made, defaulted = [], False
    kinds = ["only"] * pick.randint(0, 2) + ["both"] * pick.randint(0, 3) + ["rest"] * pick.randint(0, 1)
    kinds += ["keyword"] * pick.randint(0, 2) + ["others"] * pick.randint(0, 1)
    skipped = False
    for index, kind in enumerate(kinds):
        value = pick.choice(KINDS)
        default = None
        if kind in ("only", "both"):
            defaulted = defaulted or pick.random() < 0.4
            default = (pick.choice(DEFAULTS) if pick.random() < 0.8 else value[1]) if defaulted else None
        elif kind == "keyword" and pick.random() < 0.5:
            default = pick.choice(DEFAULTS)
        given = default is None or (pick.random() < 0.6 and not skipped)
        skipped = skipped or (kind in ("only", "both") and not given)
        if kind == "rest" and skipped:
            given = False
        made.append((f"p{index}", kind, value, default, given))
    return made


def signature(made):
    parts, last = [], None
    for name, kind, value, default, _ in made:
        if last == "only" and kind != "only":
            parts.append("/")
        if kind == "keyword" and last not in ("keyword", "rest"):
            parts.append("*")
        star = {"rest": "*", "others": "**"}.get(kind, "")
        parts.append(star + name + (f": {value[0]}" if value[0] else "") + (f" = {default}" if default is not None else ""))
        last = kind
    return ", ".join(parts + (["/"] if last == "only" else []))


def call(made, of):
    parts = []
    for name, kind, value, _, given in made:
        if given:
            one = of(value)
            parts.append({"keyword": f"{name}={one}", "rest": f"{one}, {one}", "others": f"x={one}"}.get(kind, one))
    return ", ".join(parts)


def plain(made, pick, way):
    """The call as an agent sends it: `null` for what is left out, or texts for values."""
    sent = []
    for name, kind, value, default, given in made:
        text = value[3] if way == "text" and value[3] else value[2]
        if given:
            sent.append(f'"{name}":' + {"rest": f"[{text},{text}]", "others": f'{{"x":{text}}}'}.get(kind, text))
        elif way == "null" and not (default is not None and default != "None" and value[0].startswith(("Optional", "Any"))):
            sent.append(f'"{name}":null')
    pick.shuffle(sent)
    return "{" + ",".join(sent) + "}"


def main(seed, count):
    pick = random.Random(seed)
    source, functions = [HEAD], []
    for index in range(count):
        made = parameters(pick)
        functions.append(made)
        source.append(f"def g{index}({signature(made)}): return repr(list(locals().items()))\n")
    namespace = {}
    exec("".join(source), namespace)
    program, calls, served = ["import signatures as m\n"], [], [source[0]]
    for index, made in enumerate(functions):
        served.append(source[index + 1].replace(f"def g{index}", f"@expose\ndef f{index}"))
        want = eval(f"g{index}({call(made, lambda value: value[1])})", namespace)
        for way in ("plain", "null", "text"):
            calls.append({"function": f"f{index}", "arguments": plain(made, pick, way), "want": want, "how": signature(made)})
        if not any(part in call(made, lambda value: value[1]) for part in LOCAL):
            program.append(f"got = m.f{index}({call(made, lambda value: value[1])})\nassert got == {want!r}, got\n")
    program.append("print('ok')\n")
    json.dump({"source": "".join(served), "program": "".join(program), "calls": calls}, sys.stdout)


main(int(sys.argv[1]), int(sys.argv[2]))
