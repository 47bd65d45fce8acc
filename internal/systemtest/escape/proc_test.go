//go:build linux

package escape_test

// What a process shows of others in /proc.
var procAttempts = []attempt{
	{name: "the root directory of every thread of PID 1", python: `
for link in ["/proc/1/root"] + [f"/proc/1/task/{t}/root" for t in threads()]:
    each([link], lambda p: is_host(p) and out(p))
    each([link + W["secret"]], show)
`},
	{name: "the working directory of every thread of PID 1", python: `
for link in ["/proc/1/cwd"] + [f"/proc/1/task/{t}/cwd" for t in threads()]:
    each([link + "/" + "../" * 20], lambda p: is_host(p) and out(p))
    each([link, link + "/sandboxes", link + "/layers"], lambda p: out(f"{p} lists {os.listdir(p)[:5]}") if os.listdir(p) and p.count("/") > 3 else None)
`},
	{name: "where the links of PID 1 lead", python: `
for path in glob.glob("/proc/1/task/*/[cref]*"):
    each([path], lambda p: out(p + " -> " + os.readlink(p)))
`},
	{name: "the environment of PID 1", python: `show("/proc/1/environ")
out("it is readable")
`},
	{name: "the environment of the threads of PID 1", python: `
for t in threads():
    each([f"/proc/1/task/{t}/environ", f"/proc/1/task/{t}/auxv"], lambda p: out(p) if open(p, "rb").read() else None)
`},
	{name: "the memory of PID 1", python: `
for t in [""] + ["task/" + t + "/" for t in threads()]:
    def look(path):
        with open(path, "rb") as memory:
            memory.seek(0x400000)
            if memory.read(4): out(path)
    each([f"/proc/1/{t}mem"], look)
`},
	{name: "the memory of PID 1, to write", python: `
for t in [""] + ["task/" + t + "/" for t in threads()]:
    each([f"/proc/1/{t}mem"], lambda p: out(p) if open(p, "r+b") else None)
`},
	{name: "the memory map of PID 1", python: `
for name in ("maps", "smaps", "numa_maps", "pagemap", "map_files", "smaps_rollup"):
    each(["/proc/1/" + name], lambda p: out(p) if (os.listdir(p) if os.path.isdir(p) else open(p, "rb").read(64)) else None)
`},
	{name: "the descriptors of PID 1", python: `
for place in ["/proc/1"] + glob.glob("/proc/1/task/*"):
    for number in range(64):
        each([f"{place}/fd/{number}"], lambda p: out(p) if os.stat(p) else None)
        each([f"{place}/fd/{number}"], lambda p: out(p) if os.open(p, os.O_RDONLY | os.O_NONBLOCK) else None)
        each([f"{place}/fdinfo/{number}"], lambda p: out(p) if open(p).read() else None)
`},
	{name: "the program of PID 1", python: `
for path in ["/proc/1/exe"] + glob.glob("/proc/1/task/*/exe"):
    each([path], lambda p: out(p) if open(p, "rb").read(4) else None)
`},
	{name: "the namespaces of PID 1", python: `
for path in glob.glob("/proc/1/task/*/ns/*") + glob.glob("/proc/1/ns/*"):
    def enter(p):
        with open(p) as namespace:
            checked(libc.setns(namespace.fileno(), 0))
            out("entered " + p)
    each([path], enter)
`},
	{name: "the stack and the calls of PID 1", python: `
for name in ("stack", "syscall", "wchan", "personality", "timers", "timerslack_ns"):
    def look(path):
        text = open(path).read().strip()
        if text and text not in ("0", "50000"):
            out(path + ": " + text)
    each(["/proc/1/" + name], look)
`},
	{name: "to trace PID 1", python: `
ATTACH, SEIZE = 16, 0x4206
for thread in threads():
    for request in (ATTACH, SEIZE):
        each([int(thread)], lambda t: out(f"traced {t}") if call("ptrace", request, t, 0, 0) == 0 else None)
`},
	{name: "to read the memory of PID 1 by a call", python: `
buffer = ctypes.create_string_buffer(64)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
here, there = iovec(ctypes.addressof(buffer), 64), iovec(0x400000, 64)
if call("process_vm_readv", 1, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0: out("it is read")
`},
	{name: "to write the memory of PID 1 by a call", python: `
buffer = ctypes.create_string_buffer(64)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
here, there = iovec(ctypes.addressof(buffer), 64), iovec(0x400000, 64)
if call("process_vm_writev", 1, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0: out("it is written")
`},
	{name: "to take a descriptor of PID 1", python: `
handle = call("pidfd_open", 1, 0)
for number in range(32):
    each([number], lambda n: out(f"took descriptor {n}") if call("pidfd_getfd", handle, n, 0) >= 0 else None)
`},
	{name: "to compare what PID 1 has open", python: `call("kcmp", 1, os.getpid(), 0, 0, 0)
out("compared")
`},
	{name: "to discard the memory of PID 1", python: `
handle = call("pidfd_open", 1, 0)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
there = iovec(0x400000, 4096)
if call("process_madvise", handle, ctypes.byref(there), 1, 20, 0) >= 0: out("advised")
`},
	{name: "host paths in the mount table", python: `
for path in ("/proc/self/mountinfo", "/proc/1/mountinfo", "/proc/self/mounts", "/proc/self/mountstats"):
    def look(path):
        for line in open(path):
            if any(word and word in line for word in (W["home"], W["here"])): out(path + ": " + line.strip()[:300])
    each([path], look)
`},
	{name: "host paths of control groups", python: `
for line in open("/proc/self/cgroup").read().split() + open("/proc/1/cgroup").read().split():
    place = line.split(":", 2)[2]
    if place.strip("/."):  # "/.." is a parent without a name
        out(line)
`},
	{name: "the kernel's command line", python: `
import hashlib
if hashlib.sha256(open("/proc/cmdline", "rb").read()).hexdigest() == W["cmdline"]:
    out("it is the host's")
`},
	{name: "processes of the host", python: `
for status in glob.glob("/proc/[0-9]*/status"):
    def look(path):
        numbers = [line.split()[1:] for line in open(path) if line.startswith("NSpid")][0]
        if len(numbers) > 1: out(f"{path}: {numbers}")
    each([status], look)
if os.path.exists(f"/proc/{W['pid']}/exe") and W["variable"] in open(f"/proc/{W['pid']}/environ", errors="replace").read():
    out("the host's program")
`},
	{name: "markers in what any process shows", python: `
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    if path.split("/")[2] != str(os.getpid()):
        each([path], show)
`},
	{name: "kernel memory", python: `
def look(path):
    with open(path, "rb") as file:
        if file.read(16): out(path)
each(["/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/vmcore"], look)
`},
	{name: "kernel addresses", python: `
for line in open("/proc/kallsyms"):
    if int(line.split()[0], 16): out(line.strip())
    break
each(["/proc/modules"], lambda p: [out(l.strip()) for l in open(p) if not l.rstrip().split()[5].endswith("0" * 16)])
`},
	{name: "keys of the kernel", python: `
for line in open("/proc/keys"):
    if not line.split()[8].startswith(("_ses", "_tid", "_pid")): out(line.strip())
`},
	{name: "messages of the kernel", python: `
each(["/proc/kmsg", "/dev/kmsg"], lambda p: out(p) if os.read(os.open(p, os.O_RDONLY | os.O_NONBLOCK), 64) else None)
buffer = ctypes.create_string_buffer(4096)
if call("syslog", 3, buffer, 4096) > 0: out(buffer.value[:80].decode("utf-8", "replace"))
`},
	{name: "to set what the kernel runs", python: `
for name in ("core_pattern", "modprobe", "hotplug", "poweroff_cmd", "randomize_va_space", "sysrq", "core_pipe_limit", "usermodehelper/bset"):
    def write(path):
        old = open(path).read()
        open(path, "w").write(old)
        out(path)
    each(["/proc/sys/kernel/" + name], write)
`},
	{name: "to set what holds for all sandboxes", python: `
for name in ("vm/drop_caches", "vm/overcommit_memory", "fs/file-max", "fs/pipe-max-size", "fs/binfmt_misc/register", "fs/binfmt_misc/status", "fs/protected_symlinks", "fs/suid_dumpable", "user/max_user_namespaces", "fs/inotify/max_user_instances"):
    def write(path):
        old = open(path).read() if not path.endswith(("register", "drop_caches")) else "0"
        open(path, "w").write(old)
        out(path)
    each(["/proc/sys/" + name], write)
`},
	{name: "the emergency keys of the kernel", python: `
open("/proc/sysrq-trigger", "w").write("h")
out("pressed")
`},
	{name: "interrupts, buses and file systems of the kernel", python: `
def look(path):
    for name in os.listdir(path):
        file = os.path.join(path, name)
        if os.path.isdir(file): look(file)
        elif os.stat(file).st_mode & 0o222: each([file], lambda p: out(p) if os.open(p, os.O_WRONLY) else None)
each(["/proc/irq", "/proc/bus", "/proc/fs", "/proc/scsi", "/proc/acpi", "/proc/driver", "/proc/tty", "/proc/mtrr", "/proc/asound"], look)
`},
	{name: "timers and the scheduler of the host", python: `
each(["/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/lock_stat"], lambda p: out(p) if open(p).read(1) else None)
`},
	{name: "locks that others hold", python: `
for line in open("/proc/locks"):
    pid = int(line.split("->")[-1].split()[4 if "->" not in line else 3])
    if pid > 0 and not os.path.exists(f"/proc/{pid}"): out(line.strip())
`},
	{name: "who else uses the machine", python: `
for path in ("/proc/self/net/unix", "/proc/net/tcp", "/proc/net/packet"):
    for line in open(path):
        if W["abstract"] in line or W["socket"] in line or ":%04X" % W["port"] in line: out(line.strip())
each(["/var/run/utmp", "/var/log/wtmp", "/var/log/lastlog", "/var/log/auth.log", "/var/log/syslog"], lambda p: out(p) if open(p, "rb").read(1) else None)
`},
	{name: "the loading of a process, as it begins", owner: watchBeginnings},
}
