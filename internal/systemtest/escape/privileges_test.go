//go:build linux

package escape_test

// Rights that an agent takes or leaves behind.
var privilegeAttempts = []attempt{
	{name: "capabilities that nothing inside needs", python: `
names = {1: "DAC_READ_SEARCH", 2: "DAC_READ_SEARCH", 12: "NET_ADMIN", 14: "IPC_LOCK", 16: "SYS_MODULE", 17: "SYS_RAWIO", 19: "SYS_PTRACE", 20: "SYS_PACCT", 21: "SYS_ADMIN", 22: "SYS_BOOT", 23: "SYS_NICE", 24: "SYS_RESOURCE", 25: "SYS_TIME", 27: "MKNOD", 30: "AUDIT_CONTROL", 32: "MAC_OVERRIDE", 33: "MAC_ADMIN", 34: "SYSLOG", 37: "AUDIT_READ", 38: "PERFMON", 39: "BPF", 40: "CHECKPOINT_RESTORE"}
del names[1]
for line in open("/proc/self/status"):
    if line.startswith("Cap"):
        held = int(line.split()[1], 16)
        for number, name in names.items():
            if held >> number & 1: out(f"{line.split(':')[0]} has {name}")
`},
	{name: "capabilities set again", python: `
header, data = struct.pack("=II", 0x20080522, 0), struct.pack("=IIIIII", *([0xffffffff] * 6))
checked(libc.capset(header, data))
out("set")
`},
	{name: "capabilities that are inherited", python: `
for number in (21, 19, 12, 2):
    each([number], lambda n: out(f"ambient {n}") if checked(libc.prctl(47, 2, n, 0, 0)) == 0 else None)
`},
	{name: "a program with capabilities in its file", python: `
import shutil
shutil.copy("/usr/bin/cat", "/tmp/capable")
value = struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0xffffffff, 0)
os.setxattr("/tmp/capable", "security.capability", value)
done = run("/tmp/capable", "/proc/self/status")
for line in done.stdout.split("\n"):
    if line.startswith("CapEff") and int(line.split()[1], 16) >> 21 & 1: out(line)
`},
	{name: "a setuid program of another user", python: `
import shutil
shutil.copy("/usr/bin/cat", "/tmp/setuid")
os.chown("/tmp/setuid", 0, 0)
os.chmod("/tmp/setuid", 0o6755)
done = run("/tmp/setuid", "/proc/1/environ", "/proc/1/root" + W["secret"])
print(done.stdout)
`},
	{name: "to load a module", python: `
each([0], lambda _: out("loaded") if run("modprobe", "dummy").returncode == 0 else None)
call("init_module", b"\x7fELF", 4, b"")
`},
	{name: "to end or stop the machine", python: `
call("reboot", 0xfee1dead, 672274793, 0x89abcdef)
out("the keys are switched")
`},
	{name: "to set the clock", python: `
now = struct.pack("=qq", int(time.time()), 0)
each([0], lambda _: out("set") if call("settimeofday", now, 0) == 0 else None)
each([0, 1], lambda clock: out(f"set {clock}") if call("clock_settime", clock, now) == 0 else None)
call("adjtimex", struct.pack("=I", 2) + b"\0" * 204)
out("adjusted")
`},
	{name: "to swap, account and set quotas", python: `
open("/tmp/file", "wb").write(b"\0" * 40960)
each([("swapon", b"/tmp/file", 0), ("acct", b"/tmp/file"), ("quotactl", 0x80000100, b"/dev/loop0", 0, 0)], lambda c: out(c[0]) if call(*c) == 0 else None)
`},
	{name: "to reach ports of the machine", python: `
each([("iopl", 3), ("ioperm", 0x80, 1, 1)], lambda c: out(c[0]) if call(*c) == 0 else None)
`},
	{name: "to come before all others", python: `
each([0], lambda _: out("nice") if os.setpriority(os.PRIO_PROCESS, 0, -20) is None else None)
for policy in (os.SCHED_FIFO, os.SCHED_RR):
    each([policy], lambda p: out(f"policy {p}") if os.sched_setscheduler(0, p, os.sched_param(1)) is None else None)
libc.syscall(ctypes.c_long(251 if AMD64 else 30), 1, 0, (1 << 13) | 0)  # ioprio_set, real time
`},
	{name: "limits raised", python: `
for name in ("NOFILE", "NPROC", "MEMLOCK", "CORE", "RTPRIO", "NICE", "SIGPENDING", "MSGQUEUE"):
    kind = getattr(resource, "RLIMIT_" + name)
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or name == "CORE": continue
    def lift(k):
        try: resource.setrlimit(k, (hard + 1, hard + 1))
        except ValueError as error: raise OSError(errno.EPERM, str(error))
        out(name)
    each([kind], lift)
`},
	{name: "memory that is never paged out", python: `
soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
if hard == resource.RLIM_INFINITY or hard > 1 << 30: out(f"{hard} bytes may be locked")
`},
	{name: "setuid programs and devices in a directory of the owner", owner: setuidInWorkspace},
	{name: "a program with capabilities in a directory of the owner", owner: capableInWorkspace},
	{name: "a link of the workspace to a file of the owner", owner: linksInWorkspace},
}
