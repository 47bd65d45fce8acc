//go:build unix

package seer

import (
	"os"
	"os/exec"
	"syscall"
)

// openNonBlocking keeps an open from waiting for the other end of a named pipe.
const openNonBlocking = syscall.O_NONBLOCK

// ownGroup lets a command lead a process group, so that what it starts can be
// signalled with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a process, wherever it went, and its group. One that is gone
// is no error.
func killGroup(p *os.Process) {
	_ = p.Kill()
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
}

func interruptGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGINT) }

// endSignal is the signal that ended a process; 0 = none did.
func endSignal(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return int(status.Signal())
	}
	return 0
}
