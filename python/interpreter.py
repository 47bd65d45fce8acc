"""A Python interpreter for an agent, driven over its standard streams.

Requests come in and events go out as one JSON object a line. Requests:
{"op": "environ", "values": {...}, "libraries": "directory to import from"} and
{"op": "run", "code": "...", "id": "...", "limit": bytes}. Events:
"ready", "started", "stream", "display", "result" and "update" with MIME bundles,
"clear", "error", "omitted", "done"; "started" and "done" carry the id.
Of what code shows, the beginning and the end are sent; "omitted" says how many
bytes are missing between them. Standard output and error are caught, those of
subprocesses and C libraries too. Nothing comes from standard input.
"""

import os
import sys

# What lies where an agent works, or where PYTHONPATH leads, is no code of ours:
# modules of the same names wait until ours are there.
everywhere = sys.path[:]
named = [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
sys.path[:] = [place for place in everywhere if place and os.path.abspath(place) not in named]

import ast
import codecs
import collections
import importlib
import importlib.machinery
import io
import json
import linecache
import math
import queue
import random
import secrets
import signal
import threading
import tokenize
import traceback
import types

sys.path[:] = everywhere

IDLE_LIMIT = 1 << 20  # bytes that background threads may show between two pieces of code
PIECE = 128 << 10  # characters of one event
CO_COROUTINE = 0x80  # of a code object, as module inspect has it
HELD_COST = 64  # what a piece that is held back counts beside its characters


class Channel:
    """Sends events, from any thread. No interrupt cuts one in two."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._sending = self._interrupted = False
        self.begin(IDLE_LIMIT)

    def begin(self, limit):
        """From now on what is shown counts anew."""
        self._limit, self._beginning = limit, limit - limit // 4
        self._sent = self._held = self._omitted = 0
        self._tail = collections.deque()  # of pairs: a stream and its text, or None and an event
        self._clear = False

    def send(self, **event):
        """Sends what shows nothing."""
        self._uninterrupted(self._write, encoded_event(event))

    def show(self, **event):
        """Sends what is not text, or holds it back for the end."""
        self._uninterrupted(self._show, encoded_event(event))

    def clear(self, wait):
        """Takes back what was shown, now or when the next thing comes."""
        self._uninterrupted(self._wipe, wait)

    def stream(self, name, text):
        """Sends text, or holds it back for the end."""
        self._uninterrupted(self._stream, name, text)

    def finish(self):
        """Sends what was held back."""
        self._uninterrupted(self._flush)

    def _uninterrupted(self, call, *arguments):
        if threading.get_ident() != self._main:
            with self._lock:
                call(*arguments)
            return
        self._sending = True
        try:
            with self._lock:
                call(*arguments)
        finally:
            self._sending = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _wipe(self, wait):
        if wait:
            self._clear = True
            return
        self.begin(self._limit)
        self._write(encoded_event({"event": "clear"}))

    def _show(self, line):
        if self._clear:
            self._wipe(False)
        if not self._tail and not self._omitted and self._sent + len(line) <= self._beginning:
            self._write(line)
            self._sent += len(line)
        else:
            self._hold(None, line)

    def _stream(self, name, text):
        if self._clear:
            self._wipe(False)
        if not self._tail and not self._omitted and self._sent < self._beginning:
            room = self._beginning - self._sent
            self._write_text(name, text[:room])
            self._sent += min(len(text), room)
            text = text[room:]
        if text:
            self._hold(name, text)

    def _hold(self, name, shown):
        room = self._limit - self._sent
        if len(shown) > room:
            self._omitted += len(shown) - (room if name else 0)
            if name is None:
                return
            shown = shown[-room:]
        self._tail.append((name, shown))
        self._held += len(shown) + HELD_COST
        while self._held > room and len(self._tail) > 1:
            dropped = len(self._tail.popleft()[1])
            self._held -= dropped + HELD_COST
            self._omitted += dropped

    def _flush(self):
        tail, omitted = self._tail, self._omitted
        self._tail, self._held, self._omitted = collections.deque(), 0, 0
        if omitted:
            self._write(encoded_event({"event": "omitted", "bytes": omitted}))
        while tail:
            name, shown = tail.popleft()
            if name is None:
                self._write(shown)
                continue
            texts = [shown]
            while tail and tail[0][0] == name:
                texts.append(tail.popleft()[1])
            self._write_text(name, "".join(texts))

    def _write_text(self, name, text):
        for start in range(0, len(text), PIECE):
            self._write(encoded_event({"event": "stream", "name": name, "text": text[start : start + PIECE]}))

    def _write(self, line):
        # The first newline ends whatever somebody else may have written.
        line = memoryview(b"\n" + line + b"\n")
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            end()  # nobody hears us any more

    def interrupt(self):
        """Raises KeyboardInterrupt in the main thread, now or once it has sent
        what it is sending."""
        if not self._sending:
            raise KeyboardInterrupt
        self._interrupted = True


def encoded_event(event):
    try:
        text = json.dumps(event, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(plain(event), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def plain(value):
    """A value as JSON takes it, with the text of what JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return encoded(value) if isinstance(value, bytes) else repr(value)


class Bytes(io.RawIOBase):
    """What sys.stdout or sys.stderr writes to: everything becomes events at
    once, so that both keep their order. It cannot be closed."""

    def __init__(self, channel, name, descriptor):
        self._channel, self._stream, self._descriptor = channel, name, descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.name, self.mode = f"<{name}>", "w"

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data)
        if text := self._decoder.decode(data):
            self._channel.stream(self._stream, text)
        return len(data)

    def fileno(self):
        return self._descriptor

    def close(self):
        pass


class Capture:
    """Catches what is written to a file descriptor past Python's streams."""

    def __init__(self, channel, name, descriptor):
        self._channel, self._name = channel, name
        self._mark = secrets.token_bytes(16)
        self._drained = threading.Event()
        # Our end stays usable whatever the code does with the descriptor.
        read, write = os.pipe()
        os.dup2(write, descriptor)
        self._pipe = hidden(write)
        threading.Thread(target=self._forward, args=(hidden(read),), daemon=True).start()

    def _forward(self, read):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held = b""
        while chunk := os.read(read, 65536):
            held += chunk
            before, found, after = held.partition(self._mark)
            if found:
                self._emit(decoder.decode(before))
                held = after
                self._drained.set()
                before, held = held, b""
            else:
                # The tail may be the beginning of a mark.
                keep = next((n for n in range(min(len(held), 15), 0, -1) if self._mark.startswith(held[-n:])), 0)
                before, held = held[: len(held) - keep], held[len(held) - keep :]
            self._emit(decoder.decode(before))

    def _emit(self, text):
        if text:
            self._channel.stream(self._name, text)

    def drain(self):
        """Waits until everything written so far has been sent."""
        self._drained.clear()
        try:
            os.write(self._pipe, self._mark)
        except OSError:
            return  # the code has closed it
        self._drained.wait()


FORMS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_pdf_": "application/pdf",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}


def method(value, name):
    """A method that a value's class has, as opposed to one that it makes up for
    every name."""
    try:
        if isinstance(value, type) or callable(getattr(value, "_seer_no_such_method_", None)):
            return None
        found = getattr(value, name, None)
    except Exception:
        return None
    return found if callable(found) else None


def bundle(value, include=None, exclude=None):
    """The forms of a value, by MIME type, as notebooks show it, and what is
    said about them."""
    forms, about = {}, {}

    def add(mime, form):
        if isinstance(form, tuple) and len(form) == 2:
            form, about[mime] = form
        if form is not None:
            forms[mime] = encoded(form)

    if make := method(value, "_repr_mimebundle_"):
        try:
            made = make(include=include, exclude=exclude)
            if isinstance(made, tuple):
                made, about = made[0], dict(made[1])
            for mime, form in (made or {}).items():
                add(mime, form)
        except Exception:
            complain()
    for name, mime in FORMS.items():
        make = method(value, name)
        if make and mime not in forms:
            try:
                add(mime, make())
            except NotImplementedError:
                pass
            except Exception:
                complain()
    if "text/plain" not in forms:
        forms["text/plain"] = repr(value)
    if include:
        forms = {mime: form for mime, form in forms.items() if mime in include}
    if exclude:
        forms = {mime: form for mime, form in forms.items() if mime not in exclude}
    return forms, about


def complain():
    """Shows why a value could not be shown in one of its forms."""
    error = sys.exc_info()[1]
    trim(error)
    sys.stderr.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def encoded(form):
    if isinstance(form, (bytes, bytearray)):
        import base64

        return base64.b64encode(form).decode()
    return form


class Display:
    """What display shows things with, as in IPython."""

    def __init__(self, channel):
        self._channel = channel

    def display(self, *values, include=None, exclude=None, metadata=None, transient=None, display_id=None, raw=False, clear=False, **more):
        """Shows values, as a notebook does. With a display_id it returns a
        handle, whose update shows another value in the same place."""
        if display_id is None and more.pop("update", False):
            raise TypeError("display_id required for update_display")
        if display_id is True:
            display_id = secrets.token_hex(16)
        if clear:
            self.clear_output(wait=True)
        for value in values:
            self._show("display", value, display_id, include, exclude, metadata, raw)
        return Handle(self, display_id) if display_id else None

    def update_display(self, value, *, display_id, **options):
        """Shows another value in the place of a display_id."""
        options.pop("update", None)
        raw, metadata = options.get("raw", False), options.get("metadata")
        self._show("update", value, display_id, options.get("include"), options.get("exclude"), metadata, raw)

    def clear_output(self, wait=False):
        """Removes what was shown, now or when the next thing comes."""
        self._channel.clear(bool(wait))

    def result(self, value):
        self._show("result", value, None)

    def _show(self, event, value, display_id, include=None, exclude=None, metadata=None, raw=False):
        if not raw and (show := method(value, "_ipython_display_")):
            show()
            return
        forms, about = (dict(value), {}) if raw else bundle(value, include, exclude)
        if metadata:
            about = {**about, **metadata}
        self._channel.show(event=event, data=forms, metadata=about, display_id=display_id or "")


class Handle:
    def __init__(self, shown, display_id):
        self._shown, self.display_id = shown, display_id

    def display(self, value, **options):
        self._shown.display(value, display_id=self.display_id, **options)

    def update(self, value, **options):
        self._shown.update_display(value, display_id=self.display_id, **options)

    def __repr__(self):
        return f"<DisplayHandle display_id={self.display_id}>"


class IPythonDisplay:
    """Lets IPython's display functions, where somebody imports them, show things
    here: by themselves they print when no IPython runs."""

    NAME = "IPython.core.display_functions"

    def __init__(self, shown):
        self._shown = shown

    def find_spec(self, name, path=None, target=None):
        if name != self.NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        shown = self._shown
        module.display, module.update_display, module.clear_output = shown.display, shown.update_display, shown.clear_output

        def publish(data, metadata=None, *, transient=None, **options):
            show = shown.update_display if options.get("update") else shown.display
            show(data, metadata=metadata, raw=True, display_id=(transient or {}).get("display_id"))

        module.publish_display_data = publish


class Interpreter:
    def __init__(self, channel, captures, streams):
        self._channel, self._captures, self._streams = channel, captures, streams
        self._shown = Display(channel)
        sys.meta_path.insert(0, IPythonDisplay(self._shown))
        self._module = types.ModuleType("__main__")
        self._module.__dict__.update(__builtins__=__builtins__, display=self._shown.display)
        sys.modules["__main__"] = self._module
        self._count = 0
        self._running = False
        self._loop = None
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number, frame):
        if self._running:
            self._channel.interrupt()

    def run(self, code, run_id, limit):
        self._count += 1
        filename = f"<input {self._count}>"
        linecache.cache[filename] = (len(code), None, code.splitlines(True), filename)
        self._channel.finish()
        self._channel.begin(limit)
        try:
            try:
                self._running = True
                self._channel.send(event="started", id=run_id)
                self._evaluate(code, filename)
                self._figures()
            finally:
                self._running = False
        except BaseException as error:
            self._running = False
            self._fail(error)
        for stream in self._streams:
            try:
                stream.flush()
            except Exception:
                pass  # the code has closed it
        for capture in self._captures:
            capture.drain()
        self._channel.finish()
        self._channel.begin(IDLE_LIMIT)
        self._channel.send(event="done", id=run_id)

    def _evaluate(self, code, filename):
        tree = compile(code, filename, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        self._execute(tree, filename, "exec")
        if last is not None:
            value = self._execute(last, filename, "eval")
            if value is not None and not quiet(code):
                names = self._module.__dict__
                names["___"], names["__"], names["_"] = names.get("__"), names.get("_"), value
                self._shown.result(value)

    def _execute(self, tree, filename, mode):
        compiled = compile(tree, filename, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        value = eval(compiled, self._module.__dict__)
        if compiled.co_flags & CO_COROUTINE:
            return self._await(value)
        return value

    def _await(self, coroutine):
        """Runs a coroutine; its tasks go on when the next one runs."""
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            try:
                self._loop.run_until_complete(task)
            except BaseException:
                pass  # the interrupt is what counts
            raise

    def _figures(self):
        plots = sys.modules.get("matplotlib.pyplot")
        if plots is None:
            return
        for number in plots.get_fignums():
            image = io.BytesIO()
            figure = plots.figure(number)
            figure.savefig(image, format="png", bbox_inches="tight")
            plots.close(figure)
            forms = {"image/png": encoded(image.getvalue()), "text/plain": repr(figure)}
            self._channel.show(event="display", data=forms)

    def _fail(self, error):
        try:
            trim(error)
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            value = str(error)
        except Exception:
            text, value = "", "(an exception that cannot be printed)"
        self._channel.show(event="error", name=type(error).__name__, value=short(value), traceback=short(text.rstrip("\n")))


def short(text):
    """The beginning and the end of a text that nobody reads whole."""
    most = 128 << 10
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}[... {len(text) - most} characters left out ...]{text[-most // 2 :]}"


def quiet(code):
    """Whether the code ends with a semicolon, so that its value is not shown."""
    last = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT):
                last = token.string
    except (tokenize.TokenError, SyntaxError):
        return False
    return last == ";"


def trim(error):
    """Lets the traceback of an exception begin at the user's code, and leaves
    our own frames out of those behind it."""
    seen = set()

    def visit(error):
        while isinstance(error, BaseException) and id(error) not in seen:
            first = not seen
            seen.add(id(error))
            frames = [entry for entry in entries(error.__traceback__) if entry.tb_frame.f_globals is not globals()]
            if first:
                begin = (n for n, entry in enumerate(frames) if entry.tb_frame.f_code.co_filename.startswith("<input "))
                frames = frames[next(begin, 0) :]
            trace = None
            for entry in reversed(frames):
                trace = types.TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
            error.__traceback__ = trace
            members = getattr(error, "exceptions", ())
            for member in members if isinstance(members, tuple) else ():
                visit(member)
            visit(error.__cause__)
            error = error.__context__

    visit(error)


def entries(trace):
    while trace is not None:
        yield trace
        trace = trace.tb_next


def find(libraries):
    """Lets a directory be imported from, also one that was missing before."""
    if libraries and libraries not in sys.path:
        sys.path.append(libraries)
        sys.path_importer_cache.pop(libraries, None)
    importlib.invalidate_caches()


def requests(source, inbox):
    for line in source:
        try:
            request = json.loads(line)
            inbox.put((request["op"], request))
        except Exception:
            pass  # somebody else writes there too
    end()  # the program that drives us is gone, and nobody could see what comes


def end():
    """Ends this process and what it has started."""
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def hidden(descriptor):
    """The same open file under a number that nobody guesses, out of reach of
    programs that are started and of loops over the first few."""
    try:
        import fcntl
        import resource

        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20) - 64
        copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, random.SystemRandom().randrange(most // 2, most))
    except (ImportError, OSError, ValueError):
        return descriptor
    os.close(descriptor)
    return copy


def main():
    if hasattr(os, "setpgrp") and os.getpgrp() != os.getpid():
        os.setpgrp()
    source = os.fdopen(hidden(os.dup(0)), "rb")
    channel = Channel(hidden(os.dup(1)))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    captures = [Capture(channel, "stdout", 1), Capture(channel, "stderr", 2)]
    plain_streams = sys.stdout, sys.stderr
    sys.stdin = sys.__stdin__ = open(os.devnull)
    streams = [
        io.TextIOWrapper(Bytes(channel, name, descriptor), "utf-8", "backslashreplace", "\n", write_through=True)
        for name, descriptor in (("stdout", 1), ("stderr", 2))
    ]
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = streams

    def forked():
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = plain_streams

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)
    sys.argv = [""]
    interpreter = Interpreter(channel, captures, streams)
    inbox = queue.Queue()
    threading.Thread(target=requests, args=(source, inbox), daemon=True).start()
    channel.send(event="ready", pid=os.getpid())
    while True:
        op, request = inbox.get()
        if op == "environ":
            os.environ.update(request.get("values") or {})
            find(request.get("libraries"))
        elif op == "run":
            interpreter.run(request["code"], request["id"], request["limit"])


main()
