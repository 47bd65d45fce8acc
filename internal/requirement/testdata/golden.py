"""Writes golden.json: texts that the real packaging library takes for requirements, and others.

    python -m venv venv && venv/bin/pip install packaging==26.4
    venv/bin/python internal/requirement/testdata/golden.py
"""

import itertools
import json
import pathlib
import random
import warnings

from packaging.requirements import InvalidRequirement, Requirement

NAMES = ["torch", "a", "A.b_c-d", "a-", "-a", ".a", "a_", "1a", "ünï", "", "a b", "'a'"]
EXTRAS = ["", "[]", "[ ]", "[x]", "[x,y]", "[ x , y-z ]", "[x y]", "[x,]", "[,x]", "[x", " [x]", "[x] ", "[é]"]
VERSIONS = [
    "", "==1", "== 1.0", "==1.*", "==1.0.*", "!=1.*", ">=1.*", "==1.0a1.*", "~=1", "~=1.0", "~=1.0.post1", ">=2.4,<3", ">= 2.4 , < 3", ">=2,", ",>=2", ">=2,,<3",
    "(>=1.0)", "( >=1 , <2 )", "()", "(>=1", ">=1)", "===anything!", "=== x y", "===", "==1!2.0", "==v1.0", "==V1", "==1.0+cu121", "==1.0+cu.1_2-3", ">=1.0+cu", "==1.0rc1", "==1.0-RC.1",
    "==1.0-1", "==1.0.dev", "==1.0a0.post1.dev2+x", "=1.0", "=>1.0", "1.0", "<1", ">1", "==", ">=x", "==1.0;", ">=1 <2", "==\n1", "== 1.0 ",
]
MARKERS = [
    "", ";", "; ", '; python_version < "3.11"', ";python_version<'3'", '; python_version in "3.8,3.9"', '; python_version not in "3.8 3.9"', '; "3" not\tin python_version',
    '; "linux" in sys_platform', "; sys.platform == 'win32'", "; os.name=='nt' and os_name!='x'", "; (python_version>='3' and (extra=='a' or extra == 'b'))", "; extra", "; extra == a",
    "; 'a' == 'b'", "; extra === 'a'", "; extra ~= '1'", "; extra notin 'a'", "; not extra == 'a'", "; extra == 'a' xor extra == 'b'", "; extra == 'a' and", "; python_version >= 3", "; platform.machine=='x86_64'",
    "; platform.release=='x'", "; platform_release=='x'", "; python_implementation=='CPython'", "; implementation_name == \"it's\"", "; extra == ''", "; extra == '\\x41'", "; extra == '\\x4'", "; extra == '\\d'",
    "; extra == '\\'", "; extra == 'é'", "; extras in 'x'", "; 'x' in dependency_groups", "; unknown == 'x'", "; ((extra=='a'))", "; (extra=='a'", "; extra=='a')", ";extra=='a'or extra=='b'", "; extra in'a'", "; 'a'in extra",
    " ; extra == 'a' ", "; extra == 'a' ; extra == 'b'", "; extra == 'a\nb'", "; extra == 'a\tb'",
]
URLS = ["@", "@ ", "@https://x/y.whl", " @ https://x/y.whl", "@ git+https://github.com/o/r@main#egg=r", "@ https://x/y;extra=='a'", "@ https://x/y ;extra=='a'", "@ https://x/y ; ", "@ a b", "@ file:///x", "@x==1", "@ https://é/"]


def texts():
    for name, extras in itertools.product(NAMES, EXTRAS):
        yield name + extras
        yield name + extras + ">=1"
    for version, marker in itertools.product(VERSIONS, MARKERS):
        yield "x" + version + marker
    for extras, url, marker in itertools.product(["", "[x]"], URLS, ["", "; extra == 'a'", " ; extra == 'a'"]):
        yield "x" + extras + url + marker
    for around in [" x", "x ", "\tx\t", "\nx", "x\n", "x\r", "x\u00a0", "x #c", "x --hash=sha256:0", "-r x", "./x", "https://x/y.whl", "x;(" + "(" * 150 + "extra=='a'" + ")" * 151, "x;" + "(" * 201 + "extra=='a'" + ")" * 201]:
        yield around
    rng = random.Random(7)
    pieces = ["x", " ", "[", "]", ",", "==", ">=", "~=", "1", ".0", ".*", "a1", "+l", ";", "(", ")", "extra", "python_version", "'a'", '"b"', " in ", " not in ", " and ", " or ", "@", "u:", "-", "post"]
    for _ in range(1500):
        yield "x" + "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9)))


def accepted(text):
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def main():
    warnings.simplefilter("ignore")  # of escapes in markers that Python may refuse one day
    found = {True: [], False: []}
    for text in dict.fromkeys(texts()):
        found[accepted(text)].append(text)
    path = pathlib.Path(__file__).with_name("golden.json")
    blocks = ["[\n" + ",\n".join(json.dumps(text, ensure_ascii=False) for text in found[kind]) + "\n]" for kind in (True, False)]
    path.write_text('{"accepted": %s,\n"refused": %s}\n' % tuple(blocks), encoding="utf-8")
    print(len(found[True]), "accepted,", len(found[False]), "refused")


if __name__ == "__main__":
    main()
