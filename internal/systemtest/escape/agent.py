"""What an agent brings along. W holds what it may know of the host: paths,
ports and numbers, no content."""
import ctypes
import errno
import fcntl
import glob
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

W = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
AMD64 = platform.machine() == "x86_64"
NUMBERS = {  # of system calls, on amd64 and arm64
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "clock_settime": (227, 112),
    "clone3": (435, 435), "fanotify_init": (300, 262), "finit_module": (313, 273), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "io_uring_setup": (425, 425), "ioperm": (173, None), "iopl": (172, None),
    "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18), "modify_ldt": (154, None),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239),
    "name_to_handle_at": (303, 264), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117),
    "quotactl": (179, 60), "reboot": (169, 142), "request_key": (249, 218), "setns": (308, 268), "settimeofday": (164, 170),
    "swapon": (167, 224), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
}
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000


class Out(Exception):
    """The attempt has got out."""


def out(what):
    raise Out(what)


def call(name, *arguments):
    number = NUMBERS[name][0 if AMD64 else 1]
    if number is None:
        raise OSError(errno.ENOSYS, name)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "call")
    return result


def kernel_answers(name, *arguments):
    """Gets out when the kernel looks at the arguments of a call at all."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        out(f"the kernel answers {name} with {error.strerror} ({error.errno})")
    out(f"the kernel answers {name}")


def is_host(path):
    """Whether a path leads to the root directory of the host."""
    found = os.stat(path)
    return [found.st_dev, found.st_ino] == W["root"]


def threads():
    return sorted(os.listdir("/proc/1/task"), key=int)


def show(path, most=1 << 16):
    """Prints what is in a file; the markers in it give the attempt away."""
    with open(path, "rb") as file:
        print(file.read(most).decode("utf-8", "replace"), flush=True)


def each(paths, use):
    """Uses every path that can be used."""
    for path in paths:
        try:
            use(path)
        except OSError:
            pass


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=20, **options)


def worked(*command, **options):
    done = run(*command, **options)
    print(done.stdout[-2000:], done.stderr[-300:])
    return done.returncode == 0


def forked(use):
    """Runs use in a child and tells how that ended; getting out counts here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        said = ""
        try:
            use()
        except Out as what:
            said = str(what)
        except OSError as error:
            print("held:", error)
        sys.stdout.flush()
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    said = b""
    while chunk := os.read(read, 4096):
        said += chunk
    os.close(read)
    _, status = os.waitpid(child, 0)
    if said:
        out(said.decode())
    return status


def userns(*flags):
    """Becomes root of a user namespace of its own, with all capabilities."""
    uid, gid = os.getuid(), os.getgid()
    mask = NEWUSER
    for flag in flags:
        mask |= flag
    call("unshare", mask)
    each(["/proc/self/setgroups"], lambda path: open(path, "w").write("deny"))
    open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
    open("/proc/self/gid_map", "w").write(f"0 {gid} 1")


def mount(source, target, kind, flags=0, data=None):
    encode = lambda text: text.encode() if text is not None else None
    checked(libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)))


def reach(family, address, send=b"GET / HTTP/1.0\r\n\r\n", kind=socket.SOCK_STREAM, timeout=1.5):
    """Prints what answers at an address."""
    with socket.socket(family, kind) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        connection.sendall(send)
        print(connection.recv(1 << 16).decode("utf-8", "replace"), flush=True)


def main():
    source = sys.argv[2]
    try:
        exec(compile(source, "attempt", "exec"), globals())
    except Out as what:
        print("OUT:", what)
    except (OSError, subprocess.TimeoutExpired) as error:
        print("held:", error)
    else:
        print("held")


main()
