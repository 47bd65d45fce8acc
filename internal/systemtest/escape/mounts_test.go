//go:build linux

package escape_test

// Mounts that an agent makes or changes, and what lies under those there are.
var mountAttempts = []attempt{
	{name: "a file system of its own", python: `
os.makedirs("/tmp/m", exist_ok=True)
mount("none", "/tmp/m", "tmpfs")
out("mounted")
`},
	{name: "an overlay of its own", python: `
os.makedirs("/tmp/o", exist_ok=True)
mount("none", "/tmp/o", "overlay", 0, "lowerdir=/etc:/usr")
out("mounted")
`},
	{name: "a bind of another place", python: `
os.makedirs("/tmp/b", exist_ok=True)
mount("/proc/1/root", "/tmp/b", None, 4096)
out("bound")
`},
	{name: "the kernel's settings to write to", python: `
for place in ("/proc/sys", "/sys", "/proc/irq", "/"):
    each([place], lambda p: out(p) if mount("none", p, None, 32 | 4096) is None else None)
`},
	{name: "covers taken off", python: `
for place in [line.split()[4] for line in open("/proc/self/mountinfo")]:
    for flags in (0, 2, 8):
        each([place], lambda p: out(p) if call("umount2", p.encode(), flags) == 0 else None)
`},
	{name: "a mount moved away", python: `
os.makedirs("/tmp/moved", exist_ok=True)
mount("/proc/sys", "/tmp/moved", None, 8192)
out("moved")
`},
	{name: "a copy of the mounts", python: `call("open_tree", -100, b"/", 1)
out("copied")
`},
	{name: "attributes of mounts", python: `
attributes = struct.pack("=QQQQ", 0, 1, 0, 0)
for place in (b"/sys", b"/proc/sys", b"/"):
    each([place], lambda p: out(repr(p)) if call("mount_setattr", -100, p, 0x8000, attributes, len(attributes)) == 0 else None)
`},
	{name: "the new calls for mounts", python: `
for kind in (b"tmpfs", b"proc", b"sysfs", b"ext4", b"overlay", b"cgroup2", b"debugfs", b"tracefs", b"bpf", b"securityfs", b"binfmt_misc", b"fuse", b"nfs", b"9p"):
    each([kind], lambda k: out(repr(k)) if call("fsopen", k, 0) >= 0 else None)
call("fspick", -100, b"/", 0)
out("picked")
`},
	{name: "file systems of the kernel's inside, from an own namespace", python: `
def use():
    userns(NEWNS)
    os.makedirs("/tmp/k", exist_ok=True)
    for kind in ("debugfs", "tracefs", "securityfs", "configfs", "pstore", "efivarfs", "bpf", "ext4", "xfs", "btrfs", "vfat", "iso9660", "squashfs", "9p", "nfs", "cifs", "virtiofs"):
        each([kind], lambda k: out(k) if mount("/dev/loop0", "/tmp/k", k) is None else None)
forked(use)
`},
	{name: "an overlay on the host's layers, from an own namespace", python: `
def use():
    userns(NEWNS)
    options = [line.split(" - ")[1] for line in open("/proc/self/mountinfo") if " overlay " in line]
    os.makedirs("/tmp/ov", exist_ok=True)
    for option in options:
        for part in option.split(","):
            if part.startswith(("lowerdir", "upperdir")):
                for place in part.split("=", 1)[1].split(":"):
                    def take(p):
                        mount("none", "/tmp/ov", "overlay", 0, f"lowerdir={p}:/etc,userxattr")
                        out(p)
                    if place.startswith("/") and not os.path.isdir(place): each([place], take)
forked(use)
`},
	{name: "a disk of the host", python: `
for disk in ("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop0", "/dev/dm-0", "/dev/root"):
    each([disk], lambda p: out(p) if os.open(p, os.O_RDONLY) else None)
for line in open("/proc/partitions").read().split("\n")[2:]:
    if line.split():
        major, minor = map(int, line.split()[:2])
        def take(name):
            os.mknod(name, 0o600 | stat.S_IFBLK, os.makedev(major, minor))
            os.open(name, os.O_RDONLY)
            out(f"disk {major}:{minor}")
        each([f"/tmp/disk-{major}-{minor}"], take)
`},
	{name: "mounts that travel to the host", python: `
for line in open("/proc/self/mountinfo"):
    fields = line.split(" - ")[0].split()
    for field in fields[6:]:
        if field.startswith(("shared:", "master:")): out(line.strip())
`},
	{name: "the host's programs, written to", python: `
for path in ("/bin/sh", "/usr/bin/env", "/etc/passwd", "/etc/ssl/openssl.cnf"):
    def change(p):
        with open(p, "ab") as file: file.write(b"\n")
        os.chmod(p, 0o777)
    each([path], change)
`},
	{name: "the host's programs, made immutable", python: `
GET, SET = 0x80086601, 0x40086602
for path in ("/usr/bin/env", "/usr/bin/true"):
    def change(p):
        number = os.open(p, os.O_RDONLY)
        flags = struct.unpack("l", fcntl.ioctl(number, GET, b"\0" * 8))[0]
        fcntl.ioctl(number, SET, struct.pack("l", flags | 0x10))
        out(p)
    each([path], change)
`},
	{name: "the host's programs, by links", python: `
os.makedirs("/tmp/links", exist_ok=True)
os.link("/usr/bin/env", "/tmp/links/env")
with open("/tmp/links/env", "ab") as file: file.write(b"x")
os.chmod("/tmp/links/env", 0o4777)
`},
	{name: "the host's programs, through memory", python: `
number = os.open("/usr/bin/env", os.O_RDONLY)
for flags in (mmap.MAP_SHARED,):
    area = mmap.mmap(number, 4096, flags, mmap.PROT_READ)
    checked(libc.mprotect(ctypes.c_void_p(0), 0, 3))
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        address = [int(l.split("-")[0], 16) for l in open("/proc/self/maps") if "/usr/bin/env" in l][0]
        memory.seek(address)
        memory.write(b"\x7fELX")
    if os.pread(number, 4, 0) == b"\x7fELX": out("it is written")
`},
	{name: "names of layers in extended attributes", python: `
for name in ("user.overlay.redirect", "user.overlay.opaque", "user.overlay.metacopy", "trusted.overlay.redirect", "trusted.overlay.origin", "user.overlay.origin"):
    os.makedirs("/tmp/x", exist_ok=True)
    each([name], lambda n: os.setxattr("/tmp/x", n, b"/../../../../../../../.."))
    each(["/tmp/x" + W["secret"], "/tmp/x/layers"], lambda p: out(p) if os.stat(p) else None)
`},
	{name: "a way into the host's layers that a snapshot saves", owner: redirectInSnapshot},
	{name: "a program that mounts in the name of users", python: `
os.makedirs("/tmp/f", exist_ok=True)
for command in (["fusermount", "/tmp/f"], ["fusermount3", "/tmp/f"], ["mount", "/tmp/f"], ["losetup", "-f"], ["umount", "/proc/sys"], ["umount", "-l", "/dev/null"], ["swapon", "/tmp/f"]):
    each([command], lambda c: out(" ".join(c)) if run(*c).returncode == 0 else None)
`},
}
