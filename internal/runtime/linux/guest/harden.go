//go:build linux

package guest

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are what root in a sandbox needs to install packages and
// run services. Without CAP_SYS_PTRACE nobody inside reads the first process,
// without CAP_SYS_ADMIN nobody changes mounts.
func keptCapabilities() map[uintptr]bool {
	return map[uintptr]bool{
		unix.CAP_AUDIT_WRITE:      true,
		unix.CAP_CHOWN:            true,
		unix.CAP_DAC_OVERRIDE:     true,
		unix.CAP_FOWNER:           true,
		unix.CAP_FSETID:           true,
		unix.CAP_KILL:             true,
		unix.CAP_NET_BIND_SERVICE: true,
		unix.CAP_NET_RAW:          true,
		unix.CAP_SETFCAP:          true,
		unix.CAP_SETGID:           true,
		unix.CAP_SETPCAP:          true,
		unix.CAP_SETUID:           true,
		unix.CAP_SYS_CHROOT:       true,
	}
}

// dropCapabilities takes everything else from the calling thread's children,
// for good.
func dropCapabilities() error {
	kept := keptCapabilities()
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept[c] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel older than the capability
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

const (
	loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIf   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	leave    = unix.BPF_RET | unix.BPF_K

	offsetNumber = 0 // in struct seccomp_data
	offsetArch   = 4

	allow   = 0x7fff0000 // SECCOMP_RET_ALLOW
	succeed = 0x00050000 // SECCOMP_RET_ERRNO, errno 0
)

// ignoreOwners makes the calls that change owners or users succeed without
// effect for the calling thread's children. In a user namespace with a single
// user they could only fail, and package managers would with them.
func ignoreOwners() error {
	calls := ownerCalls()
	filter := []unix.SockFilter{
		{Code: loadWord, K: offsetArch},
		{Code: jumpIf, K: auditArch, Jt: 1},
		{Code: leave, K: allow},
		{Code: loadWord, K: offsetNumber},
	}
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: jumpIf, K: call, Jt: uint8(len(calls) - i)})
	}
	filter = append(filter, unix.SockFilter{Code: leave, K: allow}, unix.SockFilter{Code: leave, K: succeed})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("install system call filter: %w", errno)
	}
	return nil
}

// ownerCalls are the calls that every architecture has, and those of this one.
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
