//go:build linux

package guest

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// The calls that this architecture has and newer ones do not.
func oldOwnerCalls() []uint32  { return []uint32{unix.SYS_CHOWN, unix.SYS_LCHOWN} }
func oldMemoryCalls() []uint32 { return []uint32{unix.SYS_MODIFY_LDT} }
func oldDeviceCalls() []uint32 { return []uint32{unix.SYS_IOPL, unix.SYS_IOPERM} }

func oldModes() []rule {
	return []rule{
		modeArgument(unix.SYS_CHMOD, 1),
		modeArgument(unix.SYS_CREAT, 1),
		modeArgument(unix.SYS_MKNOD, 1),
		openModes(unix.SYS_OPEN, 1),
	}
}
