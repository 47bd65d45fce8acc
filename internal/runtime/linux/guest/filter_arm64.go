//go:build linux

package guest

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// This architecture has none of the calls that newer ones replace.
func oldOwnerCalls() []uint32  { return nil }
func oldMemoryCalls() []uint32 { return nil }
func oldDeviceCalls() []uint32 { return nil }
func oldModes() []rule         { return nil }
