"""The log of a service: its last lines, with numbers, and a way to wait for more."""

import collections
import os
import threading

MAX_LINES = 20_000
MAX_BYTES = 4 << 20
MAX_LINE = 64 << 10


class Log:
    def __init__(self):
        self.changed = threading.Condition()
        self.lines = collections.deque()
        self.size = 0
        self.next = 1
        self.closed = False

    def append(self, line):
        with self.changed:
            self.lines.append((self.next, line))
            self.next += 1
            self.size += len(line)
            while len(self.lines) > MAX_LINES or self.size > MAX_BYTES:
                self.size -= len(self.lines.popleft()[1])
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def after(self, number, wait):
        """The lines after `number`; waits up to `wait` seconds for one."""
        with self.changed:
            if wait and self.next <= number + 1 and not self.closed:
                self.changed.wait(wait)
            return [line for line in self.lines if line[0] > number]


def pump(read_fd, sink, mark, reached):
    """Feeds a pipe's lines to `sink` until it closes; sets `reached` where `mark` stands in it."""
    pending = b""
    with open(read_fd, "rb", buffering=0) as pipe:
        while True:
            data = pipe.read(1 << 16)
            if not data:
                break
            pending += data
            before, found, after = pending.partition(mark)
            if found:
                _lines(before + b"\n" if before and not before.endswith(b"\n") else before, sink)
                pending = after
                reached.set()
            pending = _lines(pending, sink)
    _lines(pending + b"\n" if pending else b"", sink)
    reached.set()


def _lines(data, sink):
    """Gives away whole lines and returns the rest. A carriage return ends a line: progress bars."""
    *whole, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in whole:
        sink(line[:MAX_LINE].decode("utf-8", "replace"))
    if len(rest) > MAX_LINE:
        sink(rest.decode("utf-8", "replace"))
        rest = b""
    return rest


def new_mark():
    return b"\0" + os.urandom(16).hex().encode("ascii") + b"\n"
