//go:build unix

package seer

import (
	"os"
	"syscall"
)

// endSignal is the signal that ended a process; 0 = none did.
func endSignal(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int(status.Signal())
	}
	return 0
}
