//go:build unix

package seer

import (
	"os"
	"syscall"
)

// openNonBlocking keeps an open from waiting for the other end of a named pipe.
const openNonBlocking = syscall.O_NONBLOCK

// endSignal is the signal that ended a process; 0 = none did.
func endSignal(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int(status.Signal())
	}
	return 0
}
