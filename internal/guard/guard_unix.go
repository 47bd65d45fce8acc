//go:build unix

package guard

import (
	_ "embed"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

//go:embed guard.py
var script string

// Guard is a program that runs. Its methods may be called at any time.
type Guard struct {
	process *os.Process
	line    *os.File // the guard hears what is written to it, and its end
}

// endGrace is how long a guard may take to end its program: it may have been
// stopped by it.
const endGrace = 2 * time.Second

// Start starts a command, which is a Python interpreter with its arguments, as
// one of which nothing stays. Everything else of the command holds as always;
// who started it must wait for it.
func Start(cmd *exec.Cmd) (*Guard, error) {
	heard, line, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer heard.Close()
	const firstExtra = 3
	driven := strconv.Itoa(firstExtra + len(cmd.ExtraFiles))
	// Nothing that the program's user has prepared for Python is the guard's.
	prefix := []string{cmd.Path, "-I", "-S", "-c", script, driven, cmd.Path}
	cmd.Args = append(prefix, cmd.Args[1:]...)
	cmd.ExtraFiles = append(cmd.ExtraFiles, heard)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = line.Close()
		return nil, err
	}
	return &Guard{process: cmd.Process, line: line}, nil
}

// Interrupt interrupts the program and what it started, as Ctrl-C does.
func (g *Guard) Interrupt() error {
	_, err := g.line.Write([]byte{'\n'})
	return err
}

// End ends the program and what it started. It does not wait.
func (g *Guard) End() {
	if g.line.Close() != nil {
		return // it was called before
	}
	_ = g.process.Signal(syscall.SIGCONT)
	time.AfterFunc(endGrace, func() { _ = g.process.Kill() }) // which fails once it was waited for
}
