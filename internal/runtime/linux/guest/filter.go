//go:build linux

package guest

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIf   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpAny  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jumpOver = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	leave    = unix.BPF_RET | unix.BPF_K

	offsetNumber    = 0 // in struct seccomp_data
	offsetArch      = 4
	offsetArguments = 16 // of eight bytes each; their low words hold all that is looked at
)

// verdict is what a filter answers.
type verdict uint32

const (
	allow   verdict = 0x7fff0000 // SECCOMP_RET_ALLOW
	failing verdict = 0x00050000 // SECCOMP_RET_ERRNO, the number in the low half

	succeed   = failing // without effect
	absent    = failing | verdict(unix.ENOSYS)
	denied    = failing | verdict(unix.EPERM)
	noFamily  = failing | verdict(unix.EAFNOSUPPORT)
	noService = failing | verdict(unix.EPROTONOSUPPORT)
)

// rule is what a filter does with some system calls. Without a test the
// verdict is that of all of them.
type rule struct {
	calls   []uint32
	verdict verdict
	test    []unix.SockFilter // of one of the calls; leaves in any case
}

// strict says what a filter refuses beyond what nothing inside ever needs.
type strict struct {
	owners  bool // changes of owner succeed without effect: there is one user only
	nesting bool // mounts and namespaces are left to the kernel's own checks
	noSetID bool // no file gets a set-user-ID or set-group-ID bit
}

// rules are the one table that every filter is made of.
func rules(s strict) []rule {
	table := []rule{
		// As on a kernel without them, so that programs do without.
		{calls: slices.Concat([]uint32{
			unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, // they go around a filter
			unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, // keys have no namespaces
			unix.SYS_FANOTIFY_INIT, unix.SYS_FANOTIFY_MARK,
			unix.SYS_IO_SETUP, // requests are counted for the whole machine
		}, oldMemoryCalls()), verdict: absent},
		{calls: slices.Concat([]uint32{
			unix.SYS_BPF, unix.SYS_USERFAULTFD, unix.SYS_PERF_EVENT_OPEN, unix.SYS_OPEN_BY_HANDLE_AT,
			unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
			unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT,
			unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
			unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
		}, oldDeviceCalls()), verdict: denied},
		{calls: []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR}, test: families()},
		{calls: []uint32{unix.SYS_IOCTL}, test: flagged(1, equalTo(unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD), denied)},
		{calls: []uint32{unix.SYS_FCNTL}, test: largePipes()},
	}
	if !s.nesting {
		table = append(table, noNamespaces()...)
	}
	if s.noSetID {
		table = append(table, noSetID()...)
	}
	if s.owners {
		table = append(table, rule{calls: ownerCalls(), verdict: succeed})
	}
	return table
}

// families lets the address families pass that belong to a network namespace
// and that programs use. Others reach the host (AF_VSOCK) or much of the kernel.
func families() []unix.SockFilter {
	return []unix.SockFilter{
		load(0),
		{Code: jumpIf, K: unix.AF_NETLINK, Jt: 4},
		{Code: jumpIf, K: unix.AF_UNIX, Jt: 5},
		{Code: jumpIf, K: unix.AF_INET, Jt: 4},
		{Code: jumpIf, K: unix.AF_INET6, Jt: 3},
		returns(noFamily),
		load(2),
		{Code: jumpIf, K: unix.NETLINK_ROUTE, Jf: 1},
		returns(allow),
		returns(noService),
	}
}

// largePipes refuses pipes of more than the usual size: what they hold is
// counted for the host's user, who gets small ones once a quota is used up.
func largePipes() []unix.SockFilter {
	const usual = 1 << 16 // bytes
	return []unix.SockFilter{
		load(1),
		{Code: jumpIf, K: unix.F_SETPIPE_SZ, Jt: 1},
		returns(allow),
		load(2),
		{Code: jumpOver, K: usual, Jt: 1},
		returns(allow),
		returns(denied),
	}
}

// noNamespaces refuses what makes and enters namespaces, and what changes
// mounts. The flags of clone3 lie in memory, where no filter sees them; C
// libraries fall back to clone. A UTS namespace is what tells the processes of
// one command from those of another, and takes a capability that nobody inside has.
func noNamespaces() []rule {
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	return []rule{
		{calls: []uint32{unix.SYS_CLONE3}, verdict: absent},
		{calls: []uint32{unix.SYS_CLONE}, test: flagged(0, anyOf(namespaces|unix.CLONE_NEWUTS), denied)},
		{calls: []uint32{unix.SYS_UNSHARE}, test: flagged(0, anyOf(namespaces|unix.CLONE_NEWTIME), denied)},
		{calls: []uint32{
			unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT,
			unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT_SETATTR,
			unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
		}, verdict: denied},
	}
}

// noSetID is for sandboxes with a directory of the host that other users of the
// host may reach: a program made there would give them the rights of its owner.
// The mode of openat2 lies in memory; programs fall back to openat.
func noSetID() []rule {
	return append([]rule{
		{calls: []uint32{unix.SYS_OPENAT2}, verdict: absent},
		modeArgument(unix.SYS_FCHMOD, 1),
		modeArgument(unix.SYS_FCHMODAT, 2),
		modeArgument(unix.SYS_FCHMODAT2, 2),
		modeArgument(unix.SYS_MKNODAT, 2),
		openModes(unix.SYS_OPENAT, 2),
	}, oldModes()...)
}

const setIDBits = unix.S_ISUID | unix.S_ISGID

func modeArgument(call uint32, argument int) rule {
	return rule{calls: []uint32{call}, test: flagged(argument, anyOf(setIDBits), denied)}
}

// openModes looks at the mode that follows the flags where the flags give it a
// meaning: else it is whatever lay in the register.
func openModes(call uint32, flags int) rule {
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	return rule{calls: []uint32{call}, test: append([]unix.SockFilter{
		load(flags),
		{Code: jumpAny, K: unix.O_CREAT | tmpfile, Jt: 1},
		returns(allow),
	}, flagged(flags+1, anyOf(setIDBits), denied)...)}
}

// ownerCalls change owners or users. In a user namespace with a single user
// they could only fail, and package managers would with them.
func ownerCalls() []uint32 {
	return append([]uint32{
		unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
		unix.SYS_SETGROUPS,
		unix.SYS_SETUID, unix.SYS_SETGID,
		unix.SYS_SETREUID, unix.SYS_SETREGID,
		unix.SYS_SETRESUID, unix.SYS_SETRESGID,
		unix.SYS_SETFSUID, unix.SYS_SETFSGID,
	}, oldOwnerCalls()...)
}

func load(argument int) unix.SockFilter {
	return unix.SockFilter{Code: loadWord, K: uint32(offsetArguments + 8*argument)}
}

func returns(v verdict) unix.SockFilter { return unix.SockFilter{Code: leave, K: uint32(v)} }

func anyOf(bits uint32) []unix.SockFilter { return []unix.SockFilter{{Code: jumpAny, K: bits}} }

func equalTo(values ...uint32) []unix.SockFilter {
	var tests []unix.SockFilter
	for _, v := range values {
		tests = append(tests, unix.SockFilter{Code: jumpIf, K: v})
	}
	return tests
}

// flagged gives the verdict where one of the tests of an argument holds, and
// lets the call pass where none does.
func flagged(argument int, tests []unix.SockFilter, v verdict) []unix.SockFilter {
	block := []unix.SockFilter{load(argument)}
	for i, test := range tests {
		test.Jt = uint8(len(tests) - i)
		block = append(block, test)
	}
	return append(block, returns(allow), returns(v))
}

// assemble makes a program of the table. Calls of other architectures and ABIs
// have other numbers: they do not exist here.
func assemble(table []rule) []unix.SockFilter {
	const x32 = 0x40000000
	program := []unix.SockFilter{
		{Code: loadWord, K: offsetArch},
		{Code: jumpIf, K: auditArch, Jt: 1},
		returns(absent),
		{Code: loadWord, K: offsetNumber},
		{Code: jumpAny, K: x32, Jf: 1},
		returns(absent),
	}
	for _, r := range table {
		block := r.test
		if block == nil {
			block = []unix.SockFilter{returns(r.verdict)}
		}
		// The calls lead into the block, whatever is none of them past it.
		for i, call := range r.calls {
			test := unix.SockFilter{Code: jumpIf, K: call, Jt: uint8(len(r.calls) - i - 1)}
			if i == len(r.calls)-1 {
				test.Jf = uint8(len(block))
			}
			program = append(program, test)
		}
		program = append(program, block...)
	}
	return append(program, returns(allow))
}

// filterCalls restricts the calling thread and its children for good. It takes
// CAP_SYS_ADMIN in the user namespace, in place of a promise that would also
// take the meaning from programs like sudo.
func filterCalls(s strict) error {
	filter := assemble(rules(s))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install system call filter: %w", errno)
	}
	return nil
}
