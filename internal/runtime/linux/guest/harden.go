//go:build linux

package guest

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// restrict takes from the calling thread, and from every process that it will
// start, what nothing inside needs. Each step may need the rights that a later
// one takes.
func restrict(p places, cfg *Settings) error {
	if err := leaveKeyring(); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil && !errors.Is(err, unix.EINVAL) { // a kernel without them
		return fmt.Errorf("hide control groups of the host: %w", err)
	}
	if cfg.Privileges != Host {
		if err := p.limitNamespaces(cfg.Nesting); err != nil {
			return err
		}
	}
	if !cfg.Nesting {
		if err := confine(p.root); err != nil {
			return err
		}
	}
	err := filterCalls(strict{owners: cfg.Privileges == Mapped, nesting: cfg.Nesting, noSetID: cfg.NoSetID})
	if err != nil {
		return err
	}
	return dropCapabilities(keptCapabilities(cfg.NoSetID))
}

// leaveKeyring leaves the host's session keyring, which holds a login's
// Kerberos tickets, say. Where nobody may use keys there is nothing to share.
func leaveKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("leave session keyring: %w", err)
	}
	return nil
}

// capabilities is a set of them, a bit each.
type capabilities uint64

func (c capabilities) has(number int) bool { return c>>number&1 != 0 }

// keptCapabilities are what root in a sandbox needs to install packages and
// run services. Without CAP_SYS_PTRACE nobody inside reads the first process,
// without CAP_SYS_ADMIN nobody changes mounts. With noSetID no file gets a
// capability, and a program that is written to loses its set-user-ID bit.
func keptCapabilities(noSetID bool) capabilities {
	kept := capabilities(1<<unix.CAP_AUDIT_WRITE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER |
		1<<unix.CAP_KILL | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_RAW |
		1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_CHROOT)
	if !noSetID {
		kept |= 1<<unix.CAP_FSETID | 1<<unix.CAP_SETFCAP
	}
	return kept
}

// marking is what the thread that starts processes may use beside what they
// keep, and raises for that moment alone: see markProcesses.
const marking = capabilities(1 << unix.CAP_SYS_ADMIN)

// dropCapabilities takes the others from the calling thread's children, and
// from itself: what it does for a child until that is another program, it does
// with the child's rights.
func dropCapabilities(kept capabilities) error {
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if kept.has(c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel older than the capability
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return setCapabilities(kept, kept|marking)
}

func setCapabilities(effective, permitted capabilities) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32)},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}
