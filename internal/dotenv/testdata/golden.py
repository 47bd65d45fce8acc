"""Writes golden.json: texts, and what the real python-dotenv makes of them.

    python -m venv venv && venv/bin/pip install python-dotenv==1.2.4
    venv/bin/python internal/dotenv/testdata/golden.py
"""

import io
import itertools
import json
import os
import pathlib
import random

from dotenv.main import DotEnv

ENVIRON = {"HOME": "/root", "SET": "from the process", "EMPTY": ""}

VALUES = [
    "", "plain", "a$27", "$2b$12$abc/def.ghi", "a b", "a#b", "a #b", "#b", "# b", "a\t# b", "'", '"', "''", '""', "'a'", '"a"',
    '"p4$W0RD"', "'p4$W0RD'", "${HOME}/x", '"${HOME}/x"', "'${HOME}/x'", "${NONE}", "${NONE:-else}", "${EMPTY:-else}", "${SET:-else}",
    "${A}", "${A", "$HOME", "${}", "${:-x}", "${A:x}", "${NONE:-${HOME}}", "\\${HOME}", '"say \\"hi\\""', "'it\\'s'", '"a\\tb"', "'a\\tb'",
    "a\\tb", '"C:\\\\dir\\\\"', "'C:\\\\dir\\\\'", "C:\\dir\\", '"C:\\dir\\"', '"a\\$b"', '"a\nb"', "'a\nb'", '"a\r\nb"', '"open', "'open",
    '"a" b', '"a" # b', '"a"# b', '"a"b', "'a''b'", "a'b", 'a"b', "a=b", "=a", "a;b", "`id`", "$(id)", "a\\", "a\\\nb", "ünï-çødé", "\u00a0x\u00a0",
    "a\u2003#b", "a\x1f#b", "a\x0bb", "a\x0c", "  padded  ", "{\"json\": \"x\"}", "[1, 2]", "true", "0x10", "https://u:p@h/p?q=1#f", "\\n", '"\\n\\r\\a\\b\\f\\v\\x41\\u0041\\/"',
    "-----BEGIN-----", "a,b", "*", "~", "!", "&x", "@x", "%x", "| x", "> x", "a: b",
]
PREFIXES = ["", "export ", "export\t", "  ", "export", " export  "]
KEYS = ["K", "MY-KEY", "my.key", "'K'", "'two words'", "1K", "ünï", "k k", "''", "'K", "K$", '"K"', "K:", "export", "#K", "-"]
SEPARATORS = ["=", " = ", " =", "= ", "=\t", " ", ":", ": ", "==", ""]

WHOLE = [
    "", "\n\n", "\ufeffK=1\n", "\ufeff\n# c\nK=1", "K=1\r\nL=2\r\n", "K=1\rL=2", "K=1\n\nhunter2 hunter2\nL=2\n", "A=1\nM='two\nlines'\nKEY=\"open\nB=1\n",
    "K=1\nK=2\n", "K=1\nK\n", "K\n", "K=1\nK\nL=${K}\n", "A=1\nB=${A}${A}\nA=2\nC=${A}\nD=${B}\n", "SET=file\nL=${SET}\n", "EMPTY=file\nL=${EMPTY:-else}\n",
    "A=${B}\nB=1\n", "A=${A}\n", "A=1\nA=${A}2\n", "K=1 # c\n# K=2\n#K=3\n  # K=4\nL=2", "K='a'\n'\nL=2", "K=\"a\"\n\"\nL=2\nM=\"\nN=3\n",
    "export A=1\nexport\nexport B\nexport C=3", "K=\n  L=2\n", "K =\nL=2", "=1\nL=2", "K=1\n\n\n  = 2\nL=3", "\x0cK=1\x0c\n\x1cL=2", "K=\"\\\"\nL=2\n", "K='\\'\nL=2\n",
]


def texts():
    yield from WHOLE
    for value in VALUES:
        yield f"A=above\nK={value}\nL=after\n"
        yield f"K={value}"
    for prefix, key, separator in itertools.product(PREFIXES, KEYS, SEPARATORS):
        yield f"{prefix}{key}{separator}v\nL=after\n"
    rng = random.Random(7)
    pieces = ["K", "A", "=", "'", '"', "\\", "#", "$", "{", "}", "${A}", ":-", " ", "\t", "\n", "\n", "\r\n", "a", "n", "export ", "é", "\x1d"]
    for _ in range(700):
        yield "A=1\n" + "".join(rng.choice(pieces) for _ in range(rng.randrange(3, 22)))


def values(text):
    # As a file is opened: with universal newlines, in UTF-8.
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    found = DotEnv(None, stream=stream, override=False).dict()
    return {name: value for name, value in found.items() if value is not None}


def main():
    os.environ.clear()
    os.environ.update(ENVIRON)
    cases = [{"text": text, "values": values(text)} for text in dict.fromkeys(texts())]
    path = pathlib.Path(__file__).with_name("golden.json")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, sort_keys=True) for case in cases)
    path.write_text('{"environ": %s, "cases": [\n%s\n]}\n' % (json.dumps(ENVIRON), lines), encoding="utf-8")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
