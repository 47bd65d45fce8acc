"""Ends the services of a sandbox and forgets their secrets: those that start next have others.

Each has a directory below /run/seer, with its process in the file "process":
its ID, and when it began, which no other process of the same ID did.
"""

import contextlib
import fcntl
import os
import signal
import time

ROOT = "/run/seer"
SECRETS = ("secret.json", "config.json", "/dev/shm/seer-functions/token")


def began(pid):
    """When a process that runs has begun."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def end(pid, start):
    if began(pid) != start:
        return
    os.killpg(pid, signal.SIGTERM)
    late = time.monotonic() + 10
    while began(pid) == start and time.monotonic() < late:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main():
    for name in os.listdir(ROOT) if os.path.isdir(ROOT) else []:
        home = os.path.join(ROOT, name)
        with open(os.path.join(home, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError), open(os.path.join(home, "process")) as file:
                pid, start = file.read().split()
                end(int(pid), start)
            for secret in SECRETS:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(home, secret))


main()
