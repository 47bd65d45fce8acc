//go:build unix

package venvtest

import (
	"os"
	"syscall"
)

// lock waits until no other process holds the lock of this file.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close() // the lock is what failed
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
