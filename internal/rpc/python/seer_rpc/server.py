"""The HTTP face of all services: one port, a token for each service and one for control.

    GET    /healthz?nonce=N                      proof that this server knows the control token
    GET    /s/<service>/healthz?nonce=N          proof that it knows the service's token
    GET    /s/<service>                          description         (service token)
    POST   /s/<service>/call/<function>          one call            (service token)
    GET    /admin/services                       names               (control token, as all below)
    POST   /admin/services/<service>             load or replace; JSON lines of output, then the outcome
    GET    /admin/services/<service>             description
    DELETE /admin/services/<service>             remove
    GET    /admin/services/<service>/logs        JSON lines; ?after=N&follow=1

Whoever has no right token gets one and the same 401, whatever was asked.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import queue
import re
import resource
import signal
import socket
import socketserver
import sys
import threading
import time
from urllib.parse import parse_qs, unquote

from . import http, wire
from .http import Refused
from .service import Registry, Unavailable

MAX_SPEC = 64 << 20
MAX_REQUEST = 128 << 20
MAX_CALLERS = 1024  # connections that have shown a right token
MAX_STRANGERS = 256  # and those that have not yet: the oldest makes room for a new one
ENDLESS = 2e6  # seconds, and more than poll can wait

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")


def proof(token, name, nonce):
    return hmac.new(token.encode(), f"seer-rpc health {name} {nonce}".encode(), hashlib.sha256).hexdigest()


def digest(text):
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Strangers:
    """Connections that have shown no right token yet. They take nobody's place but each other's."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sockets = {}  # oldest first

    def admit(self, sock):
        with self.lock:
            if len(self.sockets) >= MAX_STRANGERS:
                oldest = next(iter(self.sockets))
                del self.sockets[oldest]
                try:
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end
                except OSError:
                    pass  # it hung up
            self.sockets[sock] = None

    def forget(self, sock):
        with self.lock:
            self.sockets.pop(sock, None)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, host, port, token):
        self.token = token
        self.registry = Registry()
        self.strangers = Strangers()
        self.callers = threading.BoundedSemaphore(MAX_CALLERS)
        super().__init__((host, port), Handler)

    def process_request(self, request, client_address):
        self.strangers.admit(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.strangers.forget(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        print(f"connection handler: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class Handler(http.Connection):
    def respond(self):
        path, _, query = self.path.partition("?")
        parts = path.split("/")[1:] or [""]
        registry = self.server.registry
        if parts[-1] == "healthz" and (len(parts) == 1 or (len(parts) == 3 and parts[0] == "s")):
            self.health(parts, query)
        elif parts[0] == "s" and len(parts) >= 2:
            service = registry.get(parts[1])
            self.authorize(service.token if service else registry.decoy)
            self.serve(service, parts[2:])
        else:
            self.authorize(self.server.token)
            self.control(parts, query)

    def authorize(self, token):
        scheme, _, given = self.headers.get("authorization", "").partition(" ")
        if not hmac.compare_digest(digest(given.strip()), digest(token)) or scheme.lower() != "bearer":
            self.unauthorized()
        if not self.trusted:
            if not self.server.callers.acquire(blocking=False):
                raise Refused(503, "Busy", f"the server has {MAX_CALLERS} callers", close=True)
            self.server.strangers.forget(self.connection)
        self.trust()

    def finish(self):
        try:
            super().finish()
        finally:
            if self.trusted:
                self.server.callers.release()

    def unauthorized(self):
        raise Refused(401, "Unauthorized", "a valid bearer token is required", close=True)

    def health(self, parts, query):
        nonce = parse_qs(query).get("nonce", [""])[0]
        if not _NONCE.match(nonce):
            self.unauthorized()
        name = parts[1] if len(parts) == 3 else ""
        token = self.server.registry.token(name) if name else self.server.token
        self.reply(200, {"proof": proof(token, name, nonce)})

    # One service.

    def serve(self, service, rest):
        if rest == [] and self.method == "GET":
            self.reply(200, description(service))
        elif len(rest) == 2 and rest[0] == "call" and self.method == "POST":
            self.call(service, unquote(rest[1]))
        else:
            raise Refused(404, "NotFound", "no such endpoint", close=True)

    def call(self, service, function):
        body = self.read_body(service.spec.get("max_request") or MAX_REQUEST)
        seconds = self.seconds(service)
        deadline = None if seconds is None else time.monotonic() + seconds
        meta = {
            "function": function,
            "tagged": self.headers.get("x-seer-values") == "tagged",
            "arguments": self.headers.get("x-seer-arguments") or self.headers.get("x-seer-values", "plain"),
            "arrays": self.headers.get("x-seer-arrays") == "base64",
        }
        try:
            service, process = self.server.registry.enter(service, deadline)
        except Unavailable as error:
            raise Refused(504 if error.kind == "TimeoutError" else 503, error.kind, str(error)) from None
        try:
            self.run(service, process, meta, body, deadline)
        finally:
            process.leave()

    def seconds(self, service):
        """The tighter one of the service's and the caller's timeout."""
        limits = [service.spec.get("timeout") or None]
        asked = self.headers.get("x-seer-timeout")
        if asked:
            try:
                limits.append(float(asked))
            except ValueError:
                raise Refused(400, "BadRequest", "malformed X-Seer-Timeout") from None
        return min((limit for limit in limits if limit is not None and limit < ENDLESS), default=None)

    def run(self, service, process, meta, body, deadline):
        number, sock, clean = None, None, False
        try:
            number, sock = process.connection()
            wire.send_request(sock, meta, body)
            del body
            self.await_frame(sock, meta, deadline)
            kind, size = wire.receive_frame_head(sock)
            if kind == wire.RESULT:
                self.relay(sock, size)
                clean = True
            elif kind == wire.ERROR:
                answer = json.loads(wire.receive(sock, size))
                clean = True
                raise Refused(answer["status"], **answer["error"])
            else:
                clean = self.relay_stream(sock, kind, size, service, process, meta, deadline)
        except http.CallerGone:
            raise
        except OSError:
            if self.started:
                raise  # cut short: the client sees that the answer is not whole
            raise Refused(503, *service.lost(process, meta["function"])) from None
        finally:
            if sock is not None:
                process.release(number, sock, clean)

    def await_frame(self, sock, meta, deadline):
        if not self.wait(sock, None if deadline is None else deadline - time.monotonic()):
            raise Refused(504, "TimeoutError", f"{meta['function']} ran into its timeout")

    def relay(self, sock, size):
        head = self.head(200, size)
        if size <= wire.CHUNK:
            self.send(head + wire.receive(sock, size))
            return
        self.send(head)
        buffer = memoryview(bytearray(4 * wire.CHUNK))
        while size:
            count = sock.recv_into(buffer[: min(size, len(buffer))])
            if count == 0:
                raise wire.Closed("worker ended")
            self.send(buffer[:count])
            size -= count

    def relay_stream(self, sock, kind, size, service, process, meta, deadline):
        """Whether the call came to its end. If not, the last line says why."""
        self.start_lines()
        ended = False
        try:
            while kind == wire.ITEM:
                self.chunk(wire.receive(sock, size))
                self.await_frame(sock, meta, deadline)
                kind, size = wire.receive_frame_head(sock)
            answer = json.loads(wire.receive(sock, size))
            last = {"error": answer["error"]} if kind == wire.ERROR else answer
            ended = True
        except Refused as refused:
            last = {"error": refused.error}
        except wire.Closed:
            name, message = service.lost(process, meta["function"])
            last = {"error": {"type": name, "message": message}}
        self.line(last)
        self.end_lines()
        return ended

    # Control.

    def control(self, parts, query):
        if parts[:2] != ["admin", "services"] or len(parts) > 4:
            raise Refused(404, "NotFound", "no such endpoint", close=True)
        registry, rest = self.server.registry, parts[2:]
        if not rest and self.method == "GET":
            self.reply(200, {"services": registry.names()})
            return
        if not rest or not _NAME.match(rest[0]):
            raise Refused(400, "BadRequest", "a service name is a Python identifier of up to 64 ASCII letters", close=True)
        if len(rest) == 1 and self.method == "POST":
            self.load(rest[0])
            return
        service = registry.get(rest[0])
        if service is None:
            raise Refused(404, "UnknownService", f"no service {rest[0]} is served", close=True)
        if rest[1:] == ["logs"] and self.method == "GET":
            self.logs(service, parse_qs(query))
        elif len(rest) == 1 and self.method == "GET":
            self.reply(200, description(service))
        elif len(rest) == 1 and self.method == "DELETE":
            registry.remove(rest[0])
            self.reply(200, {})
        else:
            raise Refused(405, "BadRequest", "no such method", close=True)

    def load(self, name):
        try:
            spec = json.loads(self.read_body(MAX_SPEC))
            if not all(isinstance(spec[key], str) and spec[key] for key in ("token", "filename")):
                raise ValueError("token and filename must be texts")
            base64.b64decode(spec["source"], validate=True)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Refused(400, "BadRequest", f"malformed spec: {error}") from None
        registry, events = self.server.registry, queue.SimpleQueue()
        twin = registry.twin(name)
        if twin:
            raise Refused(409, "NameTaken", f"service {twin} is served; names that differ in case alone share a library's variables")
        try:
            process, generation = registry.begin(name, spec, lambda line: events.put(("line", line)))
        except (OSError, ValueError, TypeError, Unavailable) as error:
            raise Refused(500, "StartFailed", f"cannot start the service's process: {error}") from None
        loaded = False
        try:
            self.start_lines()
            threading.Thread(target=lambda: events.put(("outcome", process.load())), daemon=True).start()
            functions, failure = self.progress(events)
            if failure is None:
                service = registry.commit(name, spec, process, functions, generation)
                loaded = service is not None
                failure = {"type": "ServiceReplaced", "message": f"service {name} was served again by a later request"}
            self.line({"loaded": description(service)} if loaded else {"failed": failure})
            self.end_lines()
        finally:
            if not loaded:
                registry.abandon(process)

    def progress(self, events):
        """Reports output until the outcome is there, unless the client hangs up before."""
        while True:
            try:
                kind, value = events.get(timeout=0.2)
            except queue.Empty:
                self.check_caller()
                continue
            if kind == "outcome":
                return value
            self.line({"line": value})

    def logs(self, service, query):
        after = query.get("after", ["0"])[0]
        if not (after.isascii() and after.isdigit() and len(after) < 18):
            raise Refused(400, "BadRequest", "malformed number of a line")
        number = int(after)
        follow = query.get("follow") == ["1"]
        self.start_lines()
        while True:
            for number, line in service.log.after(number, 0.5 if follow else 0):
                self.line({"number": number, "line": line})
            if not follow or service.log.closed:
                break
            self.check_caller()
        self.end_lines()


def description(service):
    return {"name": service.name, "state": service.state(), "functions": service.functions}


def settings(arguments):
    """The settings, one JSON object: from a file that only its owner may read, or the first line of stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", help="a file of mode 0600; without it, the settings are read from stdin")
    path = parser.parse_args(arguments).config
    if path is None:
        return json.loads(sys.stdin.buffer.readline())
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise SystemExit(f"{path}: others may read it; make it 0600")
        return json.load(file)


def main(arguments):
    given = settings(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server(given.get("host", "0.0.0.0"), given.get("port", 0), given["token"])
    # The interpreter writes to the pipe as the signal comes. A Python handler runs in this thread alone, which a
    # signal that another thread takes does not wake.
    stopped, stop = os.pipe()
    os.set_blocking(stop, False)
    signal.set_wakeup_fd(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    os.read(stopped, 1)
    server.registry.close()
    os._exit(0)  # threads that answer somebody may hold what the interpreter's own end waits for
