"""The server's side of a worker: the process, its connections, its output, its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from . import log, spawned, wire

MAIN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Process:
    """One worker process, from its start until it is reaped."""

    def __init__(self, spec, sink):
        self.spec = spec
        self.lock = threading.Lock()
        self.idle = []
        self.issued = 0
        self.calls = 0
        self.ending = ""  # why it ends, if that was our wish
        self.ended = threading.Event()
        self.mark, self.marked = log.new_mark(), threading.Event()
        self.folder = tempfile.mkdtemp(prefix="seer-service-")
        self.control, control = socket.socketpair()
        read_end, self.output = os.pipe()
        try:
            spawned.write(spec, self.folder)
            self.popen = subprocess.Popen(
                [sys.executable, MAIN, "worker", str(control.fileno())],
                stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
                pass_fds=[control.fileno()], start_new_session=True,
                cwd=spec.get("dir") or None, env={**os.environ, **(spec.get("env") or {})},
            )
        except BaseException:
            os.close(read_end)
            os.close(self.output)
            self.control.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            control.close()
        threading.Thread(target=log.pump, args=(read_end, sink, self.mark, self.marked), daemon=True).start()

    def load(self):
        """Runs the interface file. Returns the descriptions or None, and the failure or None."""
        try:
            _, sock = self.connection()
            with sock:
                wire.send_request(sock, dict(self.spec, folder=self.folder))
                kind, size = wire.receive_frame_head(sock)
                answer = json.loads(wire.receive(sock, size))
        except OSError:
            kind, answer = wire.ERROR, None
        os.write(self.output, self.mark)
        os.close(self.output)
        self.marked.wait(10)
        threading.Thread(target=self.reap, daemon=True).start()
        if kind == wire.RESULT:
            return answer, None
        self.kill()
        if answer is None:
            self.ended.wait(10)
            message = f"the process {self.fate()} while it loaded {self.spec['filename']}"
            answer = {"type": "ServiceCrashed", "message": message, "traceback": f"ServiceCrashed: {message}"}
        return None, answer

    def reap(self):
        self.popen.wait()
        with self.lock:
            idle, self.idle = self.idle, None
        for _, sock in idle:
            sock.close()
        self.control.close()
        self.kill()  # what the worker left behind in its group
        shutil.rmtree(self.folder, ignore_errors=True)
        self.ended.set()

    def fate(self):
        code = self.popen.poll()
        if code is None:
            return "was lost"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def connection(self):
        """A connection of its own for one call."""
        with self.lock:
            if self.idle:
                return self.idle.pop()
            self.issued += 1
            number = self.issued
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(self.control, [wire.CONTROL.pack(wire.CONNECT, number)], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
            return number, ours

    def release(self, number, sock, clean):
        """Keeps a connection whose call was answered; anything else cancels the call."""
        with self.lock:
            if clean and self.idle is not None:
                self.idle.append((number, sock))
                return
            sock.close()
            if not clean:
                try:
                    self.control.sendall(wire.CONTROL.pack(wire.CANCEL, number))
                except OSError:
                    pass  # the worker is gone, and the call with it

    def enter(self):
        with self.lock:
            if self.ending or self.ended.is_set():
                return False
            self.calls += 1
            return True

    def leave(self):
        with self.lock:
            self.calls -= 1
            last = self.ending and self.calls == 0
        if last:
            self.kill()

    def retire(self, why, seconds):
        """Lets the calls that run finish, for so many seconds."""
        with self.lock:
            self.ending = why
            calls = self.calls
        if calls == 0 or seconds <= 0:
            self.kill()
            return
        timer = threading.Timer(seconds, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self):
        if self.ended.is_set():
            return  # the number of the group may be another's by now
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
