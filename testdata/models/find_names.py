"""Prints where in a sandbox names stand, whatever their case and separators.

They come by standard input, so that no process shows them. What the image
brought is left out: it was made before anyone named a model.
"""

import os
import subprocess
import sys
import time

SEPARATORS = b"-_./ \\\n\t\0"
CHUNK, OVERLAP = 16 << 20, 1 << 10
IMAGE = ["(", "-path", "/usr/*", "-o", "-path", "/opt/*", "-o", "-path", "/lib*", ")"]

words = [word.encode() for word in sys.stdin.read().split()]


def squeeze(data):
    return data.lower().translate(None, SEPARATORS)


def look(data, where):
    squeezed = squeeze(data)
    for word in words:
        if word in squeezed:
            print(word.decode(), where)


def look_inside(path):
    tail = b""
    try:
        with open(path, "rb") as file:
            while data := file.read(CHUNK):
                look(tail + data, f"in {path}")
                tail = data[-OVERLAP:]
    except OSError:
        pass  # it ended, or cannot be read by root either


def look_at_memory(pid):
    """The memory that a process has written to."""
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                where, rights = line.split()[:2]
                if not rights.startswith("rw"):
                    continue
                start, end = (int(address, 16) for address in where.split("-"))
                for at in range(start, end, CHUNK):
                    try:
                        memory.seek(at)
                        look(memory.read(min(CHUNK + OVERLAP, end - at)), f"in the memory of {pid}")
                    except OSError:
                        break
    except OSError:
        pass


def started():
    with open("/proc/uptime") as uptime, open("/proc/1/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
        return time.time() - float(uptime.read().split()[0]) + ticks / os.sysconf("SC_CLK_TCK")


for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ", "mounts", "mountinfo", "comm", "maps"):
        look_inside(f"/proc/{pid}/{name}")
    if int(pid) != os.getpid():
        look_at_memory(pid)

found = subprocess.run(
    ["find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o"]
    + ["(", "-newerct", f"@{started() - 1:.3f}", "-o", "-not", *IMAGE, ")", "-print0"],
    stdout=subprocess.PIPE, check=False,  # files come and go
).stdout
for path in map(os.fsdecode, filter(None, found.split(b"\0"))):
    look(os.fsencode(path), f"in the name of {path}")
    if os.path.islink(path):
        look(os.fsencode(os.readlink(path)), f"in the target of {path}")
    elif os.path.isfile(path):
        look_inside(path)
