"""One HTTP/1.1 connection: bounded reading of requests, exact writing of answers."""

import io
import json
import select
import socket
import socketserver
import time
import traceback

MAX_LINE = 16 << 10
MAX_HEAD = 64 << 10  # all lines of a request's head
MAX_HEADERS = 100
IDLE = 300.0  # seconds a connection may wait for its next request,
STRANGE = 90.0  # and for one with a right token; longer than Go's callers keep one in reserve
SLOW = 30.0  # seconds a request's head may take
SLOWEST = 32 << 10  # bytes a second that a body has to come at, after that
DRAIN = 2.0  # seconds for a body nobody wanted

_REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    411: "Length Required", 413: "Content Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Refused(Exception):
    """A request that gets an error as its answer."""

    def __init__(self, status, type, message, close=False, **more):
        super().__init__(message)
        self.status = status
        self.error = {"type": type, "message": message, **more}
        self.close = close


class CallerGone(ConnectionError):
    """The client hung up."""


class Timed(socket.SocketIO):
    """Reads from a socket until a moment, however many packets come."""

    deadline = None

    def readinto(self, buffer):
        if self.deadline is not None:
            self._sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
        return super().readinto(buffer)


class Connection(socketserver.StreamRequestHandler):
    """Reads requests and leaves each to `respond`, which a subclass defines."""

    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.timed, self.trusted = Timed(self.connection, "r"), False
        self.rfile = io.BufferedReader(self.timed)

    def handle(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.keep, self.unread = True, 0
        try:
            while self.keep:
                self.started = False
                try:
                    if not self.read_head():
                        return
                    self.respond()
                except Refused as refused:
                    self.keep = self.keep and not refused.close
                    self.reply(refused.status, {"error": refused.error})
                except OSError:
                    raise
                except Exception:
                    self.failed()
        except OSError:
            pass  # the client is gone or too slow

    def failed(self):
        """An error of this server itself, which its log tells."""
        traceback.print_exc()
        self.keep = False
        if not self.started:
            self.reply(500, {"error": {"type": "InternalError", "message": "the server failed"}})

    def finish(self):
        try:
            super().finish()
            if self.unread:
                self.drain()
        except OSError:
            pass

    def drain(self):
        """Reads some of a body nobody wanted: closing on unread data would destroy our answer on its way."""
        self.connection.shutdown(socket.SHUT_WR)
        left, end = min(self.unread, 4 << 20), time.monotonic() + DRAIN
        while left > 0:
            self.connection.settimeout(max(end - time.monotonic(), 0.001))
            part = self.connection.recv(1 << 16)
            if not part:
                return
            left -= len(part)

    def read_head(self):
        self.timed.deadline = time.monotonic() + (IDLE if self.trusted else STRANGE)
        self.head_size = 0
        line = self.read_line()
        if not line:
            return False
        self.timed.deadline = time.monotonic() + SLOW
        self.keep, self.unread, self.headers = False, 0, {}
        words = line.decode("latin-1").split()
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise Refused(400, "BadRequest", "not an HTTP/1.1 request")
        self.method, self.path, version = words
        for _ in range(MAX_HEADERS + 1):
            line = self.read_line()
            if line in (b"\r\n", b"\n"):
                break
            name, colon, value = line.decode("latin-1").partition(":")
            name = name.lower()
            if not colon or name in self.headers and name == "content-length":
                raise Refused(400, "BadRequest", "malformed header")
            self.headers[name] = value.strip()
        else:
            raise Refused(400, "BadRequest", "too many headers")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            raise Refused(400, "BadRequest", "malformed Content-Length")
        self.unread = int(length)
        if "transfer-encoding" in self.headers:
            raise Refused(411, "BadRequest", "a request needs a Content-Length")
        asked = self.headers.get("connection", "").lower()
        self.keep = asked != "close" if version == "HTTP/1.1" else False
        return True

    def read_line(self):
        line = self.rfile.readline(MAX_LINE)
        self.head_size += len(line)
        if len(line) == MAX_LINE or self.head_size > MAX_HEAD:
            raise Refused(400, "BadRequest", "a header is too long", close=True)
        return line

    def read_body(self, limit):
        size = self.unread
        if size > limit:
            raise Refused(413, "RequestTooLarge", f"a request may have {limit} bytes, this has {size}", close=True)
        if self.headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.timed.deadline = time.monotonic() + SLOW + size / SLOWEST
        body = self.rfile.read(size) if size else b""
        self.unread = 0
        self.unhurried()
        if len(body) < size:
            raise CallerGone("request ended early")
        return body

    def reply(self, status, value):
        self.reply_bytes(status, json.dumps(value).encode("ascii"))

    def reply_bytes(self, status, body):
        self.send(self.head(status, len(body)) + body)

    def head(self, status, length):
        if self.unread:
            self.keep = False
        self.started = True
        framing = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        kind = "application/json" if length is not None else "application/x-ndjson"
        end = "" if self.keep else "Connection: close\r\n"
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n{framing}\r\n{end}\r\n"
        return head.encode("latin-1")

    def start_lines(self):
        """An answer of JSON lines, each sent at once."""
        self.send(self.head(200, None))

    def line(self, value):
        self.chunk(json.dumps(value).encode("ascii") + b"\n")

    def chunk(self, data):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_lines(self):
        self.send(b"0\r\n\r\n")

    def send(self, data):
        self.connection.sendall(data)

    def wait(self, sock, seconds):
        """Waits until `sock` is readable. False after so many seconds; CallerGone if the client hangs up."""
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(self.connection, select.POLLIN)
        while True:
            ready = poll.poll(None if seconds is None else max(0, seconds) * 1000)
            if not ready:
                return False
            if any(fd == sock.fileno() for fd, _ in ready):
                return True
            self.check_caller()
            poll.unregister(self.connection)  # it sent its next request already

    def trust(self):
        """From here on this connection may take its time; `check_caller` needs that too."""
        self.trusted = True
        self.unhurried()

    def unhurried(self):
        self.timed.deadline = None
        self.connection.settimeout(None)

    def check_caller(self):
        try:
            if self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                raise CallerGone("client hung up")
        except BlockingIOError:
            pass
        except OSError as error:
            raise CallerGone(str(error)) from None
