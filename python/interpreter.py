"""A Python interpreter for an agent, driven over its standard streams.

Requests come in and events go out as one JSON object a line. Requests:
{"op": "environ", "values": {...}, "libraries": "directory to import from"} and
{"op": "run", "code": "..."}. Events:
"ready", "started", "stream", "display" and "result" with MIME bundles, "error", "done".
Standard output and error are caught, those of subprocesses and C libraries
too. Nothing comes from standard input.
"""

import ast
import importlib
import io
import json
import linecache
import os
import queue
import secrets
import signal
import sys
import threading
import traceback
import types


class Channel:
    """Sends events, from any thread. No interrupt cuts one in two."""

    def __init__(self, descriptor):
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._sending = self._interrupted = False

    def send(self, **event):
        line = memoryview(json.dumps(event).encode() + b"\n")
        if threading.get_ident() != self._main:
            self._write(line)
            return
        self._sending = True
        try:
            self._write(line)
        finally:
            self._sending = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    def _write(self, line):
        with self._lock:
            while line:
                line = line[self._file.write(line) :]

    def interrupt(self):
        """Raises KeyboardInterrupt in the main thread, now or once it has sent
        what it is sending."""
        if not self._sending:
            raise KeyboardInterrupt
        self._interrupted = True


class Stream(io.TextIOBase):
    """sys.stdout or sys.stderr: what is written becomes events at once, so
    that both keep their order."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, channel, name, descriptor):
        self._channel, self._name, self._descriptor = channel, name, descriptor
        self.buffer = Bytes(self)

    def writable(self):
        return True

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self._channel.send(event="stream", name=self._name, text=text)
        return len(text)

    def fileno(self):
        return self._descriptor

    def isatty(self):
        return False


class Bytes(io.RawIOBase):
    def __init__(self, stream):
        self._stream = stream

    def writable(self):
        return True

    def write(self, data):
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def fileno(self):
        return self._stream.fileno()


class Capture:
    """Catches what is written to a file descriptor past Python's streams."""

    def __init__(self, channel, name, descriptor):
        self._channel, self._name = channel, name
        self._mark = secrets.token_bytes(16)
        self._drained = threading.Event()
        # Our end stays usable whatever the code does with the descriptor.
        read, self._pipe = os.pipe()
        os.dup2(self._pipe, descriptor)
        threading.Thread(target=self._forward, args=(read,), daemon=True).start()

    def _forward(self, read):
        import codecs

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
            self._channel.send(event="stream", name=self._name, text=text)

    def drain(self):
        """Waits until everything written so far has been sent."""
        self._drained.clear()
        os.write(self._pipe, self._mark)
        self._drained.wait()


FORMS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}


def bundle(value):
    """The forms of a value, by MIME type, as notebooks show it."""
    forms = {"text/plain": repr(value)}
    if isinstance(value, type):
        return forms
    for method, mime in FORMS.items():
        try:
            form = getattr(value, method)()
        except Exception:
            continue
        if isinstance(form, tuple):
            form = form[0]
        if form is not None:
            forms[mime] = encoded(form)
    return forms


def encoded(form):
    if isinstance(form, bytes):
        import base64

        return base64.b64encode(form).decode()
    return form


class Interpreter:
    def __init__(self, channel, captures):
        self._channel, self._captures = channel, captures
        self._module = types.ModuleType("__main__")
        self._module.__dict__.update(__builtins__=__builtins__, display=self._display)
        sys.modules["__main__"] = self._module
        self._count = 0
        self._running = False
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number, frame):
        if self._running:
            self._channel.interrupt()

    def _display(self, *values):
        """Shows values, as a notebook does."""
        for value in values:
            self._channel.send(event="display", data=bundle(value))

    def run(self, code):
        self._count += 1
        filename = f"<input {self._count}>"
        linecache.cache[filename] = (len(code), None, code.splitlines(True), filename)
        try:
            try:
                self._running = True
                self._channel.send(event="started")
                self._evaluate(code, filename)
                self._figures()
            finally:
                self._running = False
        except BaseException as error:
            self._running = False
            self._fail(error)
        for capture in self._captures:
            capture.drain()
        self._channel.send(event="done")

    def _evaluate(self, code, filename):
        tree = ast.parse(code, filename)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = ast.Expression(tree.body.pop().value)
        names = self._module.__dict__
        exec(compile(tree, filename, "exec"), names)
        if last is not None:
            value = eval(compile(last, filename, "eval"), names)
            if value is not None:
                names["_"] = value
                self._channel.send(event="result", data=bundle(value))

    def _figures(self):
        plots = sys.modules.get("matplotlib.pyplot")
        if plots is None:
            return
        for number in plots.get_fignums():
            image = io.BytesIO()
            figure = plots.figure(number)
            figure.savefig(image, format="png", bbox_inches="tight")
            plots.close(figure)
            self._channel.send(event="display", data={"image/png": encoded(image.getvalue()), "text/plain": repr(figure)})

    def _fail(self, error):
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == OWN_FILE:
            trace = trace.tb_next
        try:
            text = "".join(traceback.format_exception(type(error), error, trace))
            value = str(error)
        except Exception:
            text, value = "", "(an exception that cannot be printed)"
        self._channel.send(event="error", name=type(error).__name__, value=value, traceback=text.rstrip("\n"))


OWN_FILE = (lambda: 0).__code__.co_filename


def find(libraries):
    """Lets a directory be imported from, also one that was missing before."""
    if libraries and libraries not in sys.path:
        sys.path.append(libraries)
        sys.path_importer_cache.pop(libraries, None)
    importlib.invalidate_caches()


def requests(source, inbox):
    for line in source:
        inbox.put(json.loads(line))
    # The program that drives us is gone, and nobody could see what comes.
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def main():
    if hasattr(os, "setpgrp") and os.getpgrp() != os.getpid():
        os.setpgrp()
    source = os.fdopen(os.dup(0), "rb")
    channel = Channel(os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    captures = [Capture(channel, "stdout", 1), Capture(channel, "stderr", 2)]
    plain = sys.stdout, sys.stderr
    sys.stdin = open(os.devnull)
    sys.stdout, sys.stderr = Stream(channel, "stdout", 1), Stream(channel, "stderr", 2)

    def forked():
        sys.stdout, sys.stderr = plain

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)
    sys.argv = [""]
    interpreter = Interpreter(channel, captures)
    inbox = queue.Queue()
    threading.Thread(target=requests, args=(source, inbox), daemon=True).start()
    channel.send(event="ready", pid=os.getpid())
    while True:
        request = inbox.get()
        if request["op"] == "environ":
            os.environ.update(request.get("values", {}))
            find(request.get("libraries"))
        else:
            interpreter.run(request["code"])


main()
