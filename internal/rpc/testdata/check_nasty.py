"""Run where only the generated library is: calls every function of nasty.py."""

import contextlib
import datetime
import decimal
import inspect
import io
import math
import pathlib
import threading
import uuid

import model_tools as m

assert m.positional_only(1) == [1, 2, 3]
assert m.positional_only(1, 5, c=6) == [1, 5, 6]
assert m.keyword_only(a=1) == [1, math.pi, -1]
assert m.everything(1, 2, d=4) == [1, 2, 3, [], 4, "e", {}]
assert m.everything(1, 2, 3, 4, 5, d=4, e="x", args=1, f=None) == [1, 2, 3, [4, 5], 4, "x", {"args": 1, "f": None}]
assert m.positional_name_in_kwargs(1, a=2, kwargs=3, **{"$bytes": "no tag", "not a name": 0}) == [
    1, {"a": 2, "kwargs": 3, "$bytes": "no tag", "not a name": 0}]
assert m.defaults() == [
    math.inf, True, (1, "x"), "RED", b"\x00\"'\\", {"k": [1]}, True, True,
    "quotes \"\"\" ''' \\ \n \u2028 \U0001f600", {1}, None, 1 + 2j, 3, ((), (1,), {(1, 2): {"$bytes": 1}}), 5.0, 2.5,
], m.defaults()
assert m.odd_defaults() == ["Speechless", True, True, True, True] and m.odd_defaults(d=3)[3]
assert m.unknown_types() == [None, (), None, ()]
assert len(m.clashes(*range(15))) == 15
assert m.int("four") == 4 and m.Optional() == ["None"] and m.Optional(1) == ["1.0"]
assert m.datetime_of(datetime.datetime(2024, 1, 2, 3), datetime.date(2024, 1, 2)) == datetime.timedelta(hours=3)
assert m.coroutine() == "done"
stream = m.generator(3)
assert next(stream) == (0, "0") and list(stream) == [(1, "1"), (2, "2")]
assert list(m.async_generator(3)) == [0.0, 0.5, 1.0]
assert list(m.iterator(2)) == ["0", "1"] and m.loose_iterator(3) == [0, 1, 2]
broken = m.broken_generator(7)
assert next(broken) == 7
try:
    next(broken)
    raise SystemExit("no error")
except LookupError as error:
    assert isinstance(error, m.RemoteError) and error.type == "LookupError" and error.message == "after the first"
early = m.generator(10**9)
assert next(early) == (0, "0")
early.close()
nested = [(a, b) for a, _ in m.generator(3) for b in m.iterator(2)]
assert len(nested) == 6
assert m.wrapped("a", b=[1]) == {"a": "a", "b": [1.0]} and m.cached() == "x" and m.wrapped_coroutine(1) == 1
assert m.method("x") == "xxxxx" and m.grüße(größe="ü".encode()) == "ü".encode()
assert m.नाम() == [1, 8] and m.नाम(कीमत=2) == [2, 8]
moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 5, datetime.timezone.utc)
assert m.records({"x": 1}, 1, {"title": "t"}, (1, "b"), [{"x": 2}], {"RED": 1, "blue": 2}) == {
    "x": 2.0, "y": 0.0, "tags": ["RED", "t", "RED", "BLUE"], "next": {"x": 1.0, "y": 0.0, "tags": [], "next": None}}
expected = ["bytes", "datetime", "date", "time", "timedelta", "Decimal", "UUID", type(pathlib.Path()).__name__,
            "frozenset", "complex", "float", "int", "float", "date", "tuple", "deque"]
tagged = (b"a", moment, moment.date(), moment.time(), datetime.timedelta(1), decimal.Decimal("1.50"), uuid.uuid4(),
          pathlib.Path("/x"), frozenset({1}), 1j, 1, 2, 3, moment.date(), (1,), [1])
plain = ("YQ==", "2024-02-29T12:30:15.123456789Z", "2024-02-29", "12:30:00", 5, "1.5", str(uuid.uuid4()), "/x", [1],
         [0, 1], 1, 2.0, 3, "2024-02-29", [1], [1])
assert m.scalars(*tagged) == expected
expected[13] = "str"  # a text fits the union as it is
assert m.scalars(*plain) == expected, m.scalars(*plain)

for value in (
    None, True, 2**70, -0.5, 1e308, "", "\ud800 \x00 ü", b"", b"\xff" * 3, (), [()], {"a": (1, [2])}, {1: 2, "1": 3, None: 4},
    {"$set": [1]}, {"$": 1}, {"$tuple": [1], "b": 2}, set(), {1, "a"}, frozenset({(1, frozenset({2}))}), moment, moment.date(),
    moment.time(), datetime.timedelta(-1, 5, 7), decimal.Decimal("NaN").copy_abs() and decimal.Decimal("1e-30"), uuid.uuid4(),
    pathlib.Path("a/../b"), -1j, math.inf, -math.inf, [math.inf], {"x": [{"y": b"z"}]}, [[1, 2.5], [3.5, None]],
):
    back = m.echo(value)
    assert back == value and type(back) is type(value), (value, back)
    assert m.same_type(value) == repr(value) or isinstance(value, (set, frozenset)), (value, m.same_type(value))
assert math.isnan(m.echo(math.nan)) and math.isnan(m.echo([math.nan])[0])
assert m.stamps() == [datetime.datetime(2024, 1, 2, 3, 4, 5, 6), None]
assert m.echo(range(3)) == [0, 1, 2] and m.echo(bytearray(b"x")) == b"x"


def failure(call, *kinds):
    try:
        call()
    except kinds as error:
        return error
    raise SystemExit("no error")


error = failure(lambda: m.fail("ValueError", "why"), ValueError)
assert isinstance(error, m.RemoteError) and error.type == "ValueError" and error.function == "fail" and "why" in str(error)
error = failure(lambda: m.fail("Own"), ValueError)
assert error.type == "OwnError" and type(error).__name__ == "OwnError"
assert failure(lambda: m.fail("KeyError"), KeyError).message == "'no'"
assert failure(lambda: m.fail("OSError"), OSError).message == "no"
assert failure(lambda: m.fail("Stop"), m.RemoteError).type == "StopIteration"
assert failure(lambda: m.fail("Unicode"), ValueError).type == "UnicodeEncodeError"
assert failure(lambda: m.fail("Base"), m.RemoteError).type == "OwnBase"
assert failure(lambda: m.fail("Exit"), m.RemoteError).type == "SystemExit"
assert failure(lambda: m.fail("Weird"), m.RemoteError).type == "Weird"
error = failure(m.unsendable, TypeError)
assert error.message == "unsendable: result['rows'][1]['lock'] is of type object, which has no JSON form", error
assert "contains itself" in failure(m.circular, TypeError).message
assert "item 1 is of type object" in failure(lambda: list(m.generator_of_unsendable()), TypeError).message
error = failure(lambda: m.echo({"a": [object()]}), TypeError)
assert str(error) == "echo: argument['value']['a'][0] is of type object, which has no JSON form", error
assert "datetime_of: argument when" in failure(lambda: m.datetime_of("yesterday", "2024-01-01"), TypeError).message
assert "is none of RED, BLUE" in failure(lambda: m.records({"x": 1}, 5, {}, (1,), [], {}), TypeError).message
failure(m.datetime_of, TypeError)  # a missing argument: Python's own error, before anything is sent

page = io.StringIO()
with contextlib.redirect_stdout(page):
    help(m)
shown = page.getvalue()
for part in (
    "positional_only(a: Any, b: Any = 2, /, c: Any = 3)", "One line.", "nothing: at all", "torch.Tensor", "d: 'Color' = Color.RED",
    "b: float = 3.141592653589793", "*args: 'int', d: Any, e: str = 'e', **kwargs: Any)", "-> list[str]", "ends in a quote\"",
    "datetime.timedelta", "-> Iterator[tuple[int, str]]", "RemoteError",
):
    assert "".join(part.split()) in "".join(shown.replace("typing.", "").split()), part
assert inspect.getdoc(m.docstring) == (
    "Ends with quotes \"and\" \\ backslash \N{SNOWMAN}\n\n'''triple''' and \"\"\"triple\"\"\"\n{braces} %s $dollar `ticks`\n"
    "a tab       and a control \x07"), repr(m.docstring.__doc__)
assert inspect.signature(m.unknown_types).parameters["x"].annotation == "torch.Tensor"
assert inspect.signature(m.unknown_types).return_annotation == "torch.Tensor"
assert not inspect.iscoroutinefunction(m.coroutine)

results = []
threads = [threading.Thread(target=lambda: results.append(m.echo(b"x" * 1000))) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert results == [b"x" * 1000] * 16
print("ok")
