//go:build !unix

package seer

import (
	"errors"
	"os"
	"os/exec"
)

// openNonBlocking has no meaning here: there are no named pipes among files.
const openNonBlocking = 0

func ownGroup(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }

func interruptGroup(*os.Process) error {
	return errors.New("this system has no interrupts for other processes; Restart ends the code")
}

func endSignal(*os.ProcessState) int { return 0 }
