"""One service's own process: loads its interface file and runs its functions.

It gets a control socket. Over it come connections, each served by a thread of
its own, and cancellations. When the control socket closes, the server is gone
and the process group ends.
"""

import asyncio
import collections.abc
import contextlib
import contextvars
import ctypes
import inspect
import json
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import _thread

from . import arguments, errors, interface, values, wire


class CallCancelled(SystemExit):
    """Raised inside a call whose caller is gone or whose time is up.

    A SystemExit, so that one that strikes late ends its thread without a word.
    """


class Function:
    def __init__(self, target, description):
        self.target = target
        self.name = description["name"]
        self.stream = description["stream"]
        self.turn = Turn() if description["serial"] else None
        self.binder = arguments.Binder(self.name, target)


class Turn:
    """The lock of a serial function. It belongs to a thread, which may let go of it twice."""

    def __init__(self):
        self.lock = threading.RLock()

    def take(self, given_up):
        while not self.lock.acquire(timeout=0.1):
            if given_up():
                raise CallCancelled

    def leave(self):
        try:
            self.lock.release()
        except RuntimeError:
            pass  # it was let go


class Loop:
    """The one event loop of the service, started when the first coroutine comes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.loop = None

    def submit(self, coroutine):
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(target=self.loop.run_forever, name="event loop", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(only_here(coroutine), self.loop)


async def only_here(coroutine):
    """Runs a coroutine; a process that forked inside it ends here."""
    pid = os.getpid()
    try:
        return await coroutine
    except BaseException as error:
        if os.getpid() != pid:
            leave(error)
        raise
    finally:
        if os.getpid() != pid:
            leave()


class Items:
    """The items of an asynchronous iterator, for a thread: one task, in one context, asks for all of them."""

    def __init__(self, source):
        self.source = source
        self.pid = os.getpid()
        self.ready = queue.SimpleQueue()
        self.closed = False
        self.over = threading.Event()
        self.loop = self.taken = None

    async def run(self):
        self.loop, self.taken = asyncio.get_running_loop(), asyncio.Event()
        step = self.source.__anext__()
        try:
            while not self.closed:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                if os.getpid() != self.pid:
                    leave()
                try:
                    self.taken.clear()
                    self.ready.put((item,))
                    await self.taken.wait()
                except asyncio.CancelledError as cancelled:
                    if not hasattr(self.source, "athrow"):
                        raise
                    step = self.source.athrow(cancelled)  # a timeout or scope of the generator's own learns of it
                else:
                    step = self.source.__anext__()
        finally:
            try:
                if hasattr(self.source, "aclose"):
                    await self.source.aclose()
            finally:
                self.over.set()

    def take(self, future):
        """Yields the items in the thread that calls; what the task raises is raised here."""
        future.add_done_callback(lambda _: self.ready.put(None))
        for (item,) in iter(self.ready.get, None):
            yield item
            self.loop.call_soon_threadsafe(self.taken.set)
        future.result()

    def close(self, future):
        """Ends the task, and waits until its source is closed."""
        self.closed = True
        future.cancel()
        if self.taken is not None:
            self.loop.call_soon_threadsafe(self.taken.set)
            self.over.wait()


class Service:
    def __init__(self, spec):
        loaded = interface.load(spec)
        self.functions = {description["name"]: Function(target, description) for target, description in loaded}
        self.descriptions = [description for _, description in loaded]
        self.context = contextvars.copy_context()
        self.tracebacks = bool(spec.get("tracebacks"))
        self.arrays = bool(spec.get("arrays"))
        self.loop = Loop()
        self.pid = os.getpid()

    def forked(self):
        return os.getpid() != self.pid


class Connection:
    """One thread that answers one call after another."""

    def __init__(self, service, sock):
        self.service = service
        self.sock = sock
        self.lock = threading.Lock()
        self.thread = None
        self.running = False
        self.cancelled = False
        self.future = None

    def serve(self):
        self.thread = threading.get_ident()
        try:
            while True:
                meta, body = wire.receive_request(self.sock)
                self.answer(meta, body)
        except (OSError, CallCancelled):
            pass
        finally:
            self.sock.close()

    def cancel(self):
        """Best effort: code that is inside C (a sleep, a kernel) notices when it comes back."""
        with self.lock:
            self.cancelled = True
            if self.future is not None:
                self.future.cancel()
            elif self.running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(CallCancelled))

    def answer(self, meta, body):
        """Whatever happens, there is an answer, unless the caller is gone."""
        function = self.service.functions.get(meta["function"])
        if function is None:
            self.fail(404, {"type": "UnknownFunction", "message": f"no function {meta['function']} is exposed"})
            return
        try:
            self.service.context.copy().run(self.run, function, body, meta)
        except CallCancelled:
            raise
        except arguments.BadArguments as error:
            self.fail(400, {"type": "TypeError", "message": errors.cut(str(error)), "bases": ["TypeError"]})
        except values.Malformed as error:
            message = f"{function.name}: {errors.cut(str(error))}"
            self.fail(400, {"type": "BadRequest", "message": message, "bases": ["ValueError"]})
        except (wire.Closed, BrokenPipeError, ConnectionResetError):
            if self.gone():
                raise
            self.report(sys.exc_info()[1])
        except BaseException as error:
            self.report(error)
        finally:
            self.mark(False)

    def gone(self):
        """Whether the caller hung up; otherwise a connection error is the function's own."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def mark(self, running):
        with self.lock:
            if self.cancelled:
                raise CallCancelled
            self.running = running

    def run(self, function, body, meta):
        self.mark(True)
        positional, keywords = function.binder.bind(body, meta["arguments"] == "tagged")
        self.mark(False)
        if function.turn is None:
            self.invoke(function, positional, keywords, meta)
            return
        function.turn.take(lambda: self.cancelled)  # not marked as running yet, so no cancellation strikes here
        try:
            try:
                self.invoke(function, positional, keywords, meta)
            finally:
                function.turn.leave()
        finally:
            function.turn.leave()  # the one cancellation of a call may have struck just before the other

    def invoke(self, function, positional, keywords, meta):
        self.mark(True)
        result = function.target(*positional, **keywords)
        if inspect.iscoroutine(result):
            result = self.wait(result)
        if hasattr(result, "__aiter__") and hasattr(result, "__anext__"):
            result = self.drain(result)
        if isinstance(result, collections.abc.Iterator):
            if function.stream:
                self.stream(function, result, meta)
                return
            result = list(result)
        data = self.encode(function, "result", result, meta)
        self.send(wire.RESULT, b'{"result":' + data + b"}")

    def stream(self, function, items, meta):
        try:
            for index, item in enumerate(items):
                data = self.encode(function, f"item {index}", item, meta)
                self.send(wire.ITEM, b'{"item":' + data + b"}\n")
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        self.send(wire.DONE, b'{"done":true}\n')

    def drain(self, source):
        items = Items(source)
        with self.entrusted(items.run()) as future:
            try:
                yield from items.take(future)
            finally:
                items.close(future)

    def wait(self, coroutine):
        with self.entrusted(coroutine) as future:
            return future.result()

    @contextlib.contextmanager
    def entrusted(self, coroutine):
        """Has the event loop run a coroutine; meanwhile its future is what a cancellation strikes."""
        with self.lock:
            if self.cancelled:
                coroutine.close()
                raise CallCancelled
            self.future = future = self.service.loop.submit(coroutine)
        try:
            yield future
        finally:
            with self.lock:
                self.future = None

    def encode(self, function, what, value, meta):
        try:
            return values.dumps(value, meta["tagged"], meta["arrays"] or self.service.arrays)
        except values.Unsendable as error:
            raise TypeError(f"{function.name}: {what}{error.where} {error.reason}") from None

    def report(self, error):
        """The traceback goes to the log, type and message to the caller."""
        if self.service.forked():
            leave(error)
        self.mark(True)
        try:
            shown = interface.trace(error)
            tell(shown)
            answer = errors.answer(error, shown if self.service.tracebacks else "")
        except CallCancelled:
            raise
        except BaseException as failed:  # of what the exception's own class does
            answer = {"type": type(error).__name__, "message": f"<cannot be told: {type(failed).__name__}>", "bases": []}
        self.fail(500, answer)

    def fail(self, status, answer):
        self.send(wire.ERROR, json.dumps({"status": status, "error": answer}).encode("ascii"))

    def send(self, kind, payload):
        if self.service.forked():
            leave()
        wire.send_frame(self.sock, kind, payload)


def leave(error=None):
    """Ends a process that a function forked and that came back from the function: its parent alone answers."""
    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    elif error is not None:
        status = 1
        tell(interface.trace(error))
    finish_output()
    os._exit(status & 0xFF)


def tell(text):
    """Writes to the log, also when the interface file has put something else in the place of sys.stderr."""
    try:
        print(text, file=sys.__stderr__, flush=True)
    except (OSError, ValueError):
        pass  # it was closed


class Worker:
    def __init__(self, control):
        self.control = control
        self.folder = ""
        self.service = None
        self.connections = {}

    def receive(self):
        """The next control message; the end of the server is the end of this process group."""
        try:
            data, fds, _, _ = socket.recv_fds(self.control, wire.CONTROL.size, 1)
            while data and len(data) < wire.CONTROL.size:
                data += self.control.recv(wire.CONTROL.size - len(data))
        except OSError:
            data = b""
        if not data:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.killpg(0, signal.SIGKILL)
        kind, number = wire.CONTROL.unpack(data)
        return kind, number, socket.socket(fileno=fds[0]) if fds else None

    def run(self):
        _, _, sock = self.receive()
        spec, _ = wire.receive_request(sock)
        self.folder = spec["folder"]
        sys.path.append(self.folder)
        sys.path[:0] = ([spec["dir"]] if spec.get("dir") else []) + list(spec.get("python_path") or [])
        watcher = threading.Thread(target=self.watch, name="control", daemon=True)
        watcher.start()
        try:
            self.service = Service(spec)
        except interface.LoadFailed as failure:
            finish_output()
            wire.send_frame(sock, wire.ERROR, json.dumps(failure.answer).encode("ascii"))
            return
        finish_output()
        wire.send_frame(sock, wire.RESULT, json.dumps(self.service.descriptions).encode("ascii"))
        sock.close()
        watcher.join()

    def watch(self):
        while True:
            kind, number, sock = self.receive()
            if kind == wire.CONNECT:
                self.connections[number] = connection = Connection(self.service, sock)
                _thread.start_new_thread(connection.serve, ())
            elif kind == wire.CANCEL:
                connection = self.connections.pop(number, None)
                if connection is not None:
                    connection.cancel()


def finish_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the interface file replaced or closed it


def main(control_fd):
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.path.pop(0)  # this package's own folder
    Worker(socket.socket(fileno=control_fd)).run()
