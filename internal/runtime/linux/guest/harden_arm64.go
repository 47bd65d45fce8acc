//go:build linux

package guest

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

func oldOwnerCalls() []uint32 { return nil }
