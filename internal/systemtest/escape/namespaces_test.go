//go:build linux

package escape_test

// Namespaces that an agent makes or enters, and what it may do there.
var namespaceAttempts = []attempt{
	{name: "a mount namespace", python: `call("unshare", NEWNS)
out("made")
`},
	{name: "a PID namespace", python: `call("unshare", NEWPID)
out("made")
`},
	{name: "a network namespace", python: `call("unshare", NEWNET)
out("made")
`},
	{name: "a control group namespace", python: `call("unshare", NEWCGROUP)
out("made")
`},
	{name: "a host name of the host", python: `
call("unshare", NEWUTS)
out("made")
`},
	{name: "another host name", python: `
checked(libc.sethostname(b"other", 5))
out("set")
`},
	{name: "a clock namespace", python: `call("unshare", 0x80)
out("made")
`},
	{name: "a group of the host kept by not denying setgroups", python: `
call("unshare", NEWUSER)
open("/proc/self/uid_map", "w").write(f"0 {os.getuid()} 1")
open("/proc/self/gid_map", "w").write(f"0 {os.getgid()} 1")
os.setgroups([0, 1, 2, 3, 4, 5, 6])
if {1, 2, 3, 4, 5, 6} & set(os.getgroups()): out(str(os.getgroups()))
`},
	{name: "every namespace of PID 1 by its descriptor", python: `
handle = call("pidfd_open", 1, 0)
for flag in (NEWUSER, NEWNS, NEWNET, NEWPID, NEWIPC, NEWUTS, NEWCGROUP):
    each([flag], lambda f: out(hex(f)) if call("setns", handle, f) == 0 and f not in (NEWIPC,) else None)
`},
	{name: "the parent of the user namespace", python: `
GET_USERNS, GET_PARENT, OWNER = 0xb701, 0xb702, 0xb704
own = os.open("/proc/self/ns/user", os.O_RDONLY)
for request in (GET_PARENT, GET_USERNS):
    def enter(r):
        parent = fcntl.ioctl(own, r)
        call("setns", parent, 0)
        out("entered")
    each([request], enter)
for name in ("net", "mnt", "pid", "uts", "ipc", "cgroup"):
    def enter(n):
        handle = os.open("/proc/self/ns/" + n, os.O_RDONLY)
        call("setns", fcntl.ioctl(handle, GET_USERNS), 0)
        out("entered")
    each([name], enter)
`},
	{name: "control groups of version 1, mounted in an own namespace", python: `
def use():
    userns(NEWNS, NEWCGROUP)
    os.makedirs("/tmp/groups", exist_ok=True)
    for name in ("memory", "pids", "cpu", "devices", "freezer"):
        def take(n):
            mount(n, "/tmp/groups", "cgroup", 0, n)
            out(f"mounted {n}: {os.listdir('/tmp/groups')[:5]}")
        each([name], take)
forked(use)
`},
	{name: "control groups of version 1, in a control group namespace alone", python: `
call("unshare", NEWCGROUP | NEWNS)
os.makedirs("/tmp/groups1", exist_ok=True)
mount("memory", "/tmp/groups1", "cgroup", 0, "memory")
out("mounted")
`},
	{name: "control groups of version 2, mounted in an own namespace", python: `
def use():
    userns(NEWNS, NEWCGROUP)
    os.makedirs("/tmp/groups2", exist_ok=True)
    mount("none", "/tmp/groups2", "cgroup2")
    out(f"mounted: {os.listdir('/tmp/groups2')[:5]}")
forked(use)
`},
	{name: "control groups in the file system that is there", python: `
for place, directories, files in os.walk("/sys/fs/cgroup"):
    out(f"{place}: {directories[:5]} {files[:5]}") if directories or files else None
`},
	{name: "a /proc without covers, in own namespaces", python: `
def use():
    userns(NEWNS, NEWPID)
    def inner():
        os.makedirs("/tmp/proc", exist_ok=True)
        mount("proc", "/tmp/proc", "proc")
        each(["/tmp/proc/sys/kernel/core_pattern", "/tmp/proc/sysrq-trigger"], lambda p: out(p) if os.open(p, os.O_WRONLY) else None)
    forked(inner)
forked(use)
`},
	{name: "a /sys to write to, in own namespaces", python: `
def use():
    userns(NEWNS, NEWNET)
    os.makedirs("/tmp/sys", exist_ok=True)
    mount("sysfs", "/tmp/sys", "sysfs")
    each(["/tmp/sys/power/state", "/tmp/sys/kernel/mm/ksm/run", "/tmp/sys/kernel/uevent_helper"], lambda p: out(p) if os.open(p, os.O_WRONLY) else None)
forked(use)
`},
	{name: "covers of /proc taken off in an own namespace", python: `
def use():
    userns(NEWNS)
    for place in ("/proc/sys", "/proc/kcore", "/proc/sysrq-trigger", "/proc/irq", "/sys", "/dev/null"):
        each([place], lambda p: out(p) if call("umount2", p.encode(), 2) == 0 else None)
forked(use)
`},
	{name: "read-only mounts made writable in an own namespace", python: `
REMOUNT, BIND = 32, 4096
def use():
    userns(NEWNS)
    for place in ("/sys", "/proc/sys", "/proc/irq"):
        each([place], lambda p: out(p) if mount("none", p, None, REMOUNT | BIND) is None else None)
forked(use)
`},
	{name: "the network of the sandbox, changed from an own namespace", python: `
def use():
    userns()
    if worked("ip", "link", "set", "lo", "down"): out("set")
forked(use)
`},
	{name: "a packet filter of the kernel, from an own namespace", python: `
def use():
    userns(NEWNET)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as filters:
        # NFNL_MSG_BATCH_BEGIN, NFT_MSG_NEWTABLE "t", NFNL_MSG_BATCH_END
        begin = struct.pack("=IHHIIBBH", 20, 16, 1, 1, 0, 0, 0, socket.htons(10))
        name = struct.pack("=HH4s", 6, 1, b"t\0\0\0")
        table = struct.pack("=IHHIIBBH", 28, 10 << 8, 0x405, 2, 0, 2, 0, 0) + name
        end = struct.pack("=IHHIIBBH", 20, 17, 1, 3, 0, 0, 0, socket.htons(10))
        filters.sendto(begin + table + end, (0, 0))
        filters.settimeout(2)
        answer = filters.recv(4096)
        code = struct.unpack_from("=i", answer, 16)[0]
        if code == 0: out("a table is made")
        raise OSError(-code, "netfilter")
forked(use)
`},
	{name: "namespaces without end", python: `
made = 0
def use():
    global made
    for made in range(200):
        call("unshare", NEWUSER)
        open("/proc/self/uid_map", "w").write("0 0 1")
    out("made 200")
try:
    forked(use)
except Out: raise
`},
	{name: "the old root by chroot", python: `
def use():
    os.makedirs("/tmp/jail", exist_ok=True)
    outside = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/jail")
    os.fchdir(outside)
    os.chroot("../" * 64 + ".")
    if is_host("/"): out("the host's root")
    show(W["secret"])
forked(use)
`},
	{name: "the old root by pivot_root", python: `
os.makedirs("/tmp/new/old", exist_ok=True)
call("pivot_root", b"/tmp/new", b"/tmp/new/old")
out("pivoted")
`},
	{name: "the old root under the mounts of an own namespace", python: `
def use():
    userns(NEWNS)
    for _ in range(4):
        call("umount2", b"/", 2)
        if is_host("/"): out("the host's root")
    each([W["secret"]], show)
forked(use)
`},
	{name: "the root above the root", python: `
os.chdir("/")
for _ in range(64): os.chdir("..")
if is_host("."): out("the host's root")
show("../../../../../.." + W["secret"])
`},
	{name: "files by their handles", python: `
class handle(ctypes.Structure): _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
h, mount_id = handle(128), ctypes.c_int()
call("name_to_handle_at", -100, b"/etc", ctypes.byref(h), ctypes.byref(mount_id), 0)
for inode in (2, 128, 256):
    struct.pack_into("=I", h.data, 0, inode)
    directory = os.open("/etc", os.O_RDONLY)
    number = call("open_by_handle_at", directory, ctypes.byref(h), 0)
    out(f"inode {inode}: {os.listdir(number)[:5]}")
`},
	{name: "files by their handles, from an own namespace", python: `
class handle(ctypes.Structure): _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
def use():
    userns(NEWNS)
    h = handle(8, 1)
    for place in ("/", "/etc", "/dev", "/proc", "/usr/lib", "/workspace"):
        for inode in (2, 128, 256):
            def take(p):
                struct.pack_into("=II", h.data, 0, inode, 0)
                number = call("open_by_handle_at", os.open(p, os.O_RDONLY), ctypes.byref(h), os.O_RDONLY)
                out(f"{p}: inode {inode}")
            each([place], take)
forked(use)
`},
}
