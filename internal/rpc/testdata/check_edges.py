"""Run where only the generated library is: what the callers of edges.py get."""

import pickle
import sys
import traceback

import edges as m

assert m.defaults() == [None, {}, "", (), "auto", 0, "c", None, 0]
assert m.defaults(None, {}, "", (), "auto", 0, "c", None, at=0) == m.defaults()
assert m.defaults("high", {"size": 2})[1] == {"size": 2, "name": "x", "area": 4}
assert m.maybe() == [5, 6, 7, 8] and m.maybe(None, None, None, None) == [None] * 4
assert m.typed(n="no number").startswith("['no number', ")  # as Python would pass it on
assert m.echo({"$set": [1]}) == {"$set": [1]} and m.echo({"$date": "x"}) == {"$date": "x"}
made = m.options({"size": 3})
assert made == {"size": 3, "name": "x", "area": 9} and m.options(made) == made

for given, shown in (
    ((1, 2), "(1, 2)"), ((1, 2, 3), "(1, 2, 3)"), ([{"radius": 1.5}], "[Circle(radius=1.5)]"), ([{"size": 1}], "[Options(size=1, name='x', area=1)]"),
    ({"a": {"radius": 2.0}}, "{'a': Circle(radius=2.0)}"), (5, "5"), ("5", "'5'"), ({"a": 1}, "{'a': 1}"),
):
    assert m.unions(given) == shown, (given, m.unions(given))

for wrong, words in ((lambda: m.options(), "missing 1 required positional argument: 'o'"),
                     (lambda: m.options(1, 2), "takes 1 positional argument but 2 were given"),
                     (lambda: m.options(o=1, q=2), "unexpected keyword argument 'q'")):
    try:
        wrong()
        raise SystemExit("no error")
    except TypeError as error:
        assert words in str(error) and not isinstance(error, m.RemoteError), error

try:
    m.guarded({})
    raise SystemExit("no error")
except KeyError as error:
    assert isinstance(error, m.RemoteError) and error.message == "'no validator'"

assert list(m.one_context(3)) == [["inside", True]] * 3
assert list(m.own_timeout()) == ["first", "late"]
assert m.makes_items() == [1, 2]
items = m.endless()
assert next(items) == 1
items.close()
while not m.how_closed():
    pass
assert m.how_closed() == [True]
if hasattr(m, "across"):
    seen = []
    try:
        for item in m.across():
            seen.append(item)
        raise SystemExit("no error")
    except TimeoutError as error:
        assert seen[:3] == [0, 1, 2], seen

try:
    m.missing_file()
    raise SystemExit("no error")
except FileNotFoundError as error:
    assert error.errno == 2 and error.filename == "/nothing/here" and error.strerror == "No such file or directory"
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, FileNotFoundError) and again.errno == 2 and str(again) == str(error)
try:
    m.noted()
    raise SystemExit("no error")
except RuntimeError as error:
    assert error.__notes__ == ["first", "second"] and "characters left out" in error.message and len(error.message) < 70000
    if hasattr(error, "add_note"):
        assert "second" in "".join(traceback.format_exception(error))
try:
    m.strange()
    raise SystemExit("no error")
except m.RemoteError as error:
    assert error.type == "Strange"
try:
    m.group()
    raise SystemExit("no error")
except m.RemoteError as error:
    if error.type != "NameError":  # the service's Python has groups
        assert error.type == "ExceptionGroup" and len(error.exceptions) == 3
        assert isinstance(error.exceptions[0], ValueError) and error.exceptions[0].__notes__ == ["a note"]
        assert isinstance(error.exceptions[1], FileNotFoundError) and error.exceptions[1].filename == "/file"
        assert isinstance(error.exceptions[2].exceptions[0], KeyError)
        if sys.version_info >= (3, 11):
            assert isinstance(error, ExceptionGroup) and error.message == "several"
            match, rest = error.split(ValueError)
            assert len(match.exceptions) == 1 and len(rest.exceptions) == 2
            assert isinstance(pickle.loads(pickle.dumps(error)), ExceptionGroup)

assert m.letters(3) == "abc" and list(m.still_letters(2)) == ["a", "b"]
assert m.spawned() == [[0, 1, 4], 16]
assert m.fork() == ["parent", 0] and m.fork(7) == ["parent", 7] and m.fork_async() == ["parent", 0]
assert list(m.fork_items()) == ["parent", 0]
assert m.echo("still there") == "still there"
print("ok")
