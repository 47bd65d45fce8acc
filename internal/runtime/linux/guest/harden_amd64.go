//go:build linux

package guest

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

func oldOwnerCalls() []uint32 { return []uint32{unix.SYS_CHOWN, unix.SYS_LCHOWN} }
