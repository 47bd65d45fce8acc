//go:build linux

package guest

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
)

// confine is a second wall behind the mounts: the calling thread and its
// children, for good, reach files below the sandbox's root and none elsewhere,
// whatever descriptor or link of another root they should come by. Programs
// inside cannot mount then. A kernel without Landlock, or whose Landlock bars
// moves between directories, goes without.
func confine(root inroot.Root) error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 2 {
		return nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: accesses(int(version))}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("make Landlock rules: %w", errno)
	}
	defer func() { _ = unix.Close(int(ruleset)) }()
	beneath := unix.LandlockPathBeneathAttr{Allowed_access: attr.Handled_access_fs, Parent_fd: int32(root)}
	_, _, errno = unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add Landlock rule: %w", errno)
	}
	_, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0)
	if errno != 0 && !errors.Is(errno, unix.E2BIG) { // as many layers as there may be: walls enough
		return fmt.Errorf("enter Landlock rules: %w", errno)
	}
	return nil
}

// accesses are all that a version knows of files.
func accesses(version int) uint64 {
	const first = unix.LANDLOCK_ACCESS_FS_REFER<<1 - 1
	all := uint64(first)
	if version >= 3 {
		all |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 5 {
		all |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return all
}
