"""Runs a program of which nothing stays.

Arguments: the number of a descriptor, then the program's path and arguments.
Whatever can be read from the descriptor interrupts the program's process group.
Its end, which comes too when the holder of its other side is killed, ends the
program. Of what the program has started, nothing outlives it: on Linux also
not what has left its group and its session, for there orphans become ours. Our
own end is as the program's.
"""

import os
import select
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
OUTLIVED = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # what ends us is the end of who drives us


def prctl(option, value):
    """Whether the kernel does that."""
    try:
        import ctypes

        return ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0
    except Exception:
        return False  # another kernel, or a small Python


class Guard:
    def __init__(self, driven, command):
        self._driven = driven
        self._status = None  # as wait has it, once the program has ended
        self._adopts = prctl(PR_SET_CHILD_SUBREAPER, 1)
        os.set_inheritable(driven, False)
        self._woken, waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in OUTLIVED:
            signal.signal(number, signal.SIG_IGN)
        self._program = os.fork()
        if self._program == 0:
            become(command)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)  # the program's alone

    def watch(self):
        """Returns when the program has ended, or must."""
        while self._status is None:
            ready, _, _ = select.select([self._driven, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap(os.WNOHANG)
            if self._driven in ready:
                if not os.read(self._driven, 4096):
                    return
                if self._status is None:
                    self._strike(signal.SIGINT)

    def end(self):
        """Ends what is left of the program, and takes its end for ours."""
        if not self._adopts:
            self._strike(signal.SIGKILL)
        while any([killed(pid) for pid in self._children()]):
            self._reap(0)
        number = os.WTERMSIG(self._status) if self._status is not None and os.WIFSIGNALED(self._status) else 0
        if number:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        os._exit(os.WEXITSTATUS(self._status) if self._status is not None else 1)

    def _strike(self, number):
        try:
            os.killpg(self._program, number)
        except OSError:
            pass  # it has ended, or is another user's by now

    def _reap(self, options):
        """Takes the ends of those that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._program:
                self._status = status
            options = os.WNOHANG

    def _children(self):
        """Who our children are, which without /proc is the program alone."""
        if not self._adopts:
            return [self._program] if self._status is None else []
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent(name) == os.getpid()]


def become(command):
    try:
        os.setpgid(0, 0)
        for number in OUTLIVED + (signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execv(command[0], command)
    except BaseException as error:
        os.write(2, f"{command[0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def parent(name):
    try:
        with open(f"/proc/{name}/stat", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None  # it has ended


def killed(pid):
    """Whether a process will end."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return False
    return True


def main():
    guard = Guard(int(sys.argv[1]), sys.argv[2:])
    guard.watch()
    guard.end()


main()
