//go:build !unix

package guard

import (
	"errors"
	"os"
	"os/exec"
)

// Guard is a program that runs. Its methods may be called at any time.
type Guard struct{ process *os.Process }

// Start starts a command. On this system nothing ends it with this program.
func Start(cmd *exec.Cmd) (*Guard, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Guard{process: cmd.Process}, nil
}

// Interrupt fails.
func (g *Guard) Interrupt() error {
	return errors.New("this system has no interrupts for other processes; Restart ends the code")
}

// End ends the program. It does not wait.
func (g *Guard) End() { _ = g.process.Kill() }
