//go:build linux

package escape_test

// Devices: those of the host that are shown inside, and those that are not.
var deviceAttempts = []attempt{
	{name: "the mode of a device", python: `
for name in ("full", "zero", "random", "urandom", "tty"):
    each(["/dev/" + name], lambda p: os.chmod(p, 0o667))
`},
	{name: "the mode of a device by its descriptor", python: `
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
    for name in ("full", "zero"):
        def change(path):
            number = os.open(path, flags)
            os.chmod(f"/proc/self/fd/{number}", 0o667)
            os.fchmod(number, 0o667)
        each(["/dev/" + name], change)
`},
	{name: "the owner of a device", python: `
for name in ("full", "zero", "random"):
    each(["/dev/" + name], lambda p: os.chown(p, 1234, 1234))
`},
	{name: "the times of a device", python: `
for name in ("full", "zero", "random", "urandom"):
    def change(path):
        os.utime(path, (1, 1))
        found = os.stat(path)
        if found.st_mtime == 1: out(path + " has another time, on the host too")
    each(["/dev/" + name], change)
`},
	{name: "attributes and lists of a device", python: `
for name in ("user.x", "trusted.x", "security.x", "system.posix_acl_access"):
    value = struct.pack("<IHHIHHIHHI", 2, 1, 6, 0xffffffff, 4, 6, 0xffffffff, 32, 6, 0xffffffff) if name.endswith("access") else b"x"
    def change(path):
        os.setxattr(path, name, value)
        out(path + " " + name)
    each(["/dev/full", "/dev/zero"], change)
`},
	{name: "a device removed or renamed", python: `
for path in ("/dev/full", "/dev/zero"):
    each([path], os.unlink)
    each([path], lambda p: os.rename(p, p + ".old"))
`},
	{name: "a device linked to another place", python: `
each(["/dev/full"], lambda p: os.link(p, "/dev/linked"))
`},
	{name: "nodes of the host's memory", python: `
for number, (major, minor) in enumerate([(1, 1), (1, 2), (1, 4), (1, 11), (10, 144), (10, 184)]):
    def take(path):
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
        if os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1): out(f"{major}:{minor}")
    each([f"/tmp/memory{number}"], take)
`},
	{name: "nodes where devices are allowed", python: `
for place in ("/dev", "/dev/shm", "/dev/pts", "/tmp", "/workspace", "/run", "/"):
    def take(p):
        path = p + "/node"
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 11))
        os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        out(path)
    each([place], take)
`},
	{name: "nodes for networks, machines and files", python: `
for number, (major, minor) in enumerate([(10, 200), (10, 232), (10, 229), (10, 237), (10, 59), (10, 228), (7, 0), (4, 0), (5, 1), (13, 0), (226, 0), (195, 0)]):
    def take(path):
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
        os.open(path, os.O_RDWR | os.O_NONBLOCK)
        out(f"{major}:{minor}")
    each([f"/tmp/other{number}"], take)
`},
	{name: "nodes by an own namespace", python: `
def use():
    userns(NEWNS)
    os.makedirs("/tmp/nodes", exist_ok=True)
    mount("none", "/tmp/nodes", "tmpfs")
    os.mknod("/tmp/nodes/kmsg", 0o600 | stat.S_IFCHR, os.makedev(1, 11))
    os.open("/tmp/nodes/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    out("opened")
forked(use)
`},
	{name: "devices that are not shown", python: `
shown = {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue"}
more = set(os.listdir("/dev")) - shown
nodes = [n for n in more if stat.S_ISCHR(os.lstat("/dev/" + n).st_mode) or stat.S_ISBLK(os.lstat("/dev/" + n).st_mode)]
if nodes: out(str(nodes))
`},
	{name: "entropy for the host", python: `
for number, argument in ((0x40085203, struct.pack("ii", 8, 1) + b"x"), (0x5204, 0), (0x5206, 0), (0x40045201, struct.pack("i", 8))):
    def give(path):
        fcntl.ioctl(os.open(path, os.O_RDWR), number, argument)
        out(f"{path} takes {number:x}")
    each(["/dev/random", "/dev/urandom"], give)
`},
	{name: "the terminal of the host", python: `
for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0"):
    def push(p):
        terminal = os.open(p, os.O_RDWR | os.O_NOCTTY)
        for byte in b"x\n": fcntl.ioctl(terminal, 0x5412, bytes([byte]))
        out("pushed into " + p)
    each([path], push)
`},
	{name: "terminals that are not its own", python: `
for path in glob.glob("/dev/pts/[0-9]*"):
    each([path], lambda p: out(p) if os.open(p, os.O_RDWR | os.O_NOCTTY) else None)
`},
	{name: "switches of devices in /sys", python: `
def look(path, depth):
    for name in os.listdir(path):
        place = os.path.join(path, name)
        if os.path.islink(place): continue
        if os.path.isdir(place):
            if depth: look(place, depth - 1)
        elif os.stat(place).st_mode & 0o222: each([place], lambda p: out(p) if os.open(p, os.O_WRONLY) else None)
each(["/sys"], lambda p: look(p, 3))
`},
	{name: "devices by messages to the kernel", python: `
with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15) as events:
    events.bind((0, 1))
    events.sendto(b"add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=block\0", (0, 1))
    out("an event is sent")
`},
	{name: "memory that is shared with the host", python: `
for path in ("/dev/shm", "/dev/mqueue", "/run/lock", "/tmp", "/var/tmp"):
    for name in os.listdir(path) if os.path.isdir(path) else []:
        if name not in ("seer",) and os.path.isfile(path + "/" + name): each([path + "/" + name], show)
shared = open("/proc/sysvipc/shm").read().strip().split("\n")[1:] + open("/proc/sysvipc/msg").read().strip().split("\n")[1:]
if shared: out(str(shared[:3]))
`},
}
