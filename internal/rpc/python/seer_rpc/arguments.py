"""From the JSON object of a call to the arguments of a function.

The library sends tagged values, of what it was given and nothing else. Other
callers send plain JSON, and often null for what they leave out.
"""

import inspect
import json

from . import annotations, fitting, values


class BadArguments(TypeError):
    """What a caller sent does not fit; the message names the function and the parameter."""


class Binder:
    """Binds JSON objects to one function's signature."""

    def __init__(self, name, target):
        self.name = name
        self.parameters = list(inspect.signature(target).parameters.values())
        namespace = getattr(inspect.unwrap(target), "__globals__", {})
        self.hints = {item.name: annotations.evaluate(item.annotation, namespace) for item in self.parameters}
        self.optional = {item.name: Optional(item, self.hints[item.name]) for item in self.parameters if item.default is not item.empty}

    def bind(self, body, tagged):
        """The positional and the keyword arguments of the JSON in a request."""
        given = self.parse(body, tagged)
        call = Call(self, tagged)
        positional, keywords, extra, missing = [], {}, None, []
        for item in self.parameters:
            if item.kind is item.VAR_KEYWORD:
                extra = item
            elif item.kind is item.VAR_POSITIONAL:
                positional += call.rest(item, given.pop(item.name, None))
            elif item.name in given:
                value = call.argument(item, given.pop(item.name))
                if item.kind is item.KEYWORD_ONLY:
                    keywords[item.name] = value
                else:
                    positional.append(value)
            elif item.default is item.empty:
                missing.append(item.name)
            elif item.kind is not item.KEYWORD_ONLY:
                positional.append(item.default)
        if missing:
            self.fail(f"missing argument{'s' * (len(missing) > 1)} {', '.join(missing)}")
        call.spread(extra, given, keywords)
        return positional, keywords

    def parse(self, body, tagged):
        try:
            given = values.loads(body) if tagged else json.loads(body)
            if isinstance(given, str) and not tagged:
                given = json.loads(given)  # some clients send the whole object as a text
        except RecursionError:
            raise values.Malformed("the arguments are nested too deeply") from None
        except ValueError as error:
            raise values.Malformed(str(error)) from None
        if not isinstance(given, dict):
            raise values.Malformed("a call takes one JSON object of arguments")
        return given

    def fail(self, reason):
        raise BadArguments(f"{self.name}: {reason}")


class Optional:
    """A parameter with a default, which is always a value that its function takes."""

    def __init__(self, item, hint):
        self.default = item.default
        self.takes_null = annotations.takes_none(hint)
        self.sent = {}

    def is_default(self, value, tagged):
        """Whether a value is the default as a caller sends it, whatever the annotation says."""
        if tagged not in self.sent:
            try:
                data = values.dumps(self.default, tagged=tagged)
                self.sent[tagged] = values.loads(data) if tagged else json.loads(data)
            except Exception:  # an author's default may be anything
                self.sent[tagged] = self  # equal to nothing
        return same(value, self.sent[tagged])


class Call:
    """The values of one call, on their way to a function's parameters."""

    def __init__(self, binder, tagged):
        self.binder = binder
        self.tagged = tagged
        self.fitter = fitting.Fitter(fitting.JSON, False) if tagged else fitting.Fitter(fitting.TEXT, True)

    def argument(self, item, value):
        optional = self.binder.optional.get(item.name)
        if optional is not None:
            if optional.is_default(value, self.tagged):
                return item.default
            if value is None and not self.tagged and not optional.takes_null:
                return item.default
        return self.fit(item.name, value, self.binder.hints[item.name])

    def rest(self, item, value):
        value = [] if value is None else self.fitter.read(value, list)
        if not isinstance(value, (list, tuple)):
            self.binder.fail(f"*{item.name} takes a list, got {fitting.shown(value)}")
        return [self.fit(f"{item.name}[{index}]", one, self.binder.hints[item.name]) for index, one in enumerate(value)]

    def spread(self, extra, given, keywords):
        """What is left goes to **kwargs: an object under its name, or loose names."""
        if extra is None:
            if given:
                known = ", ".join(item.name for item in self.binder.parameters)
                self.binder.fail(f"unknown argument {', '.join(sorted(given)):.200}; it takes {known or 'none'}")
            return
        nested = given.pop(extra.name, None)
        nested = {} if nested is None else self.fitter.read(nested, dict)
        if not isinstance(nested, dict) or not all(isinstance(key, str) for key in nested):
            self.binder.fail(f"**{extra.name} takes an object, got {fitting.shown(nested)}")
        for name, value in (*given.items(), *nested.items()):
            if name in keywords:
                self.binder.fail(f"{name} was given twice")
            keywords[name] = self.fit(f"{extra.name}[{name!r:.60}]", value, self.binder.hints[extra.name])

    def fit(self, where, value, hint):
        try:
            return self.fitter.fit(value, hint)
        except fitting.Misfit as error:
            self.binder.fail(f"argument {where}{error.where}: {error}")
        except (ValueError, TypeError, ArithmeticError) as error:
            self.binder.fail(f"argument {where}: {error}")


def same(one, other):
    """Equality that tells True from 1 and 1 from 1.0, and takes NaN for itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, float):
        return one == other or (one != one and other != other)
    try:
        return bool(one == other)
    except Exception:  # arrays have no one answer
        return False
