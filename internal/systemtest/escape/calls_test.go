//go:build linux

package escape_test

// Parts of the kernel that no program of a sandbox needs.
var callAttempts = []attempt{
	{name: "keys of the kernel, added", python: `kernel_answers("add_key", b"user", b"escape", b"x", 1, -2)
`},
	{name: "keys of the kernel, asked for", python: `kernel_answers("request_key", b"user", b"escape", 0, -2)
`},
	{name: "keyrings of the kernel", python: `
for operation in ((0, -3, 0), (0, -4, 0), (0, -5, 0), (6, -3), (11, -4, 0, 0)):
    each([operation], lambda o: kernel_answers("keyctl", *o))
`},
	{name: "programs in the kernel", python: `
for command in (0, 5, 18, 28): kernel_answers("bpf", command, b"\0" * 128, 128)
`},
	{name: "faults handled by a program", python: `
for flags in (1, 0, os.O_CLOEXEC | 1): kernel_answers("userfaultfd", flags)
`},
	{name: "counters of the processor", python: `
event = struct.pack("=IIQ", 1, 112, 0) + b"\0" * 96
for target in ((0, -1), (-1, 0), (1, -1)):
    kernel_answers("perf_event_open", event, *target, -1, 0)
`},
	{name: "modules of the kernel", python: `kernel_answers("init_module", 0, 0, b"")
`},
	{name: "modules of the kernel from a file", python: `kernel_answers("finit_module", -1, b"", 0)
`},
	{name: "another kernel", python: `kernel_answers("kexec_load", 0, 0, 0, 0)
`},
	{name: "rings of calls", python: `kernel_answers("io_uring_setup", 1, b"\0" * 120)
`},
	{name: "watches of whole file systems", python: `kernel_answers("fanotify_init", 0, 0)
`},
	{name: "calls of an older architecture", python: `
if not AMD64: raise OSError(errno.ENOSYS, "none")
def use():
    area = mmap.mmap(-1, 4096, prot=7)
    area.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))
    number = code()
    if number == os.getpid(): out("int 0x80 is answered")
    raise OSError(errno.ENOSYS, f"it said {number}")
forked(use)
`},
	{name: "calls of the third architecture", python: `
if not AMD64: raise OSError(errno.ENOSYS, "none")
def use():
    if libc.syscall(ctypes.c_long(0x40000000 | 39)) == os.getpid(): out("x32 is answered")
forked(use)
`},
	{name: "old ways into the kernel", python: `
kernel_answers("lookup_dcookie", 0, b"x", 1)
kernel_answers("nfsservctl", 0, 0, 0)
`},
	{name: "ciphers of the kernel", python: `
with socket.socket(38, socket.SOCK_SEQPACKET) as ciphers:
    ciphers.bind(("hash", "sha256"))
    out("AF_ALG is answered")
`},
	{name: "families of networks that nothing uses", python: `
for number in [3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 39, 40, 41, 42, 43, 44, 45]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        def take(n):
            with socket.socket(n, kind): out(f"family {n}, kind {int(kind)}")
        each([number], take)
`},
	{name: "a personality that maps memory at zero", python: `
if libc.personality(0x0100000) >= 0:
    area = libc.mmap
    area.restype, area.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    if area(0, 4096, 3, 0x32, -1, 0) in (0, None): out("memory at zero")
`},
}
