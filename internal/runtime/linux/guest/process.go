//go:build linux

package guest

import (
	"context"
	"os"
	"syscall"
)

// Process is a process of the sandbox, leader of a session of its own.
type Process struct {
	guest  *Guest
	number int
	done   chan struct{}
	end    exit // valid after done
	lost   bool
}

// Exec starts a process with three files, of which nil is the sandbox's own
// /dev/null, or with a terminal of which it returns the master. A program that
// does not exist is fs.ErrNotExist.
func (g *Guest) Exec(ctx context.Context, cmd Command, stdio ...*os.File) (*Process, *os.File, error) {
	r := execRequest{Command: cmd}
	var fds []int
	for _, f := range stdio {
		r.Null = append(r.Null, f == nil)
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	var a answer
	c, passed, err := g.Converse(ctx, request{Exec: &r}, &a, fds...)
	if err != nil {
		return nil, nil, err
	}
	p := &Process{guest: g, number: a.Process, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer func() { _ = c.Close() }()
		if _, err := c.Receive(&p.end); err != nil {
			p.lost = true
			<-g.Done()
		}
	}()
	var master *os.File
	if len(passed) == 1 {
		_ = syscall.SetNonblock(passed[0], true)
		master = os.NewFile(uintptr(passed[0]), "terminal")
	}
	return p, master, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status says how the process ended; one of the two is zero. It is valid once
// Done is closed. A process that died with its sandbox was killed.
func (p *Process) Status() (code int, signal syscall.Signal) {
	if p.lost {
		return 0, syscall.SIGKILL
	}
	return p.end.Code, syscall.Signal(p.end.Signal)
}

// Signal signals every process of the session.
func (p *Process) Signal(ctx context.Context, signal syscall.Signal) error {
	_, _, err := p.guest.call(ctx, request{Kill: &killRequest{Process: p.number, Signal: signal}})
	return err
}

// KillProcesses kills every process that was started, and what those started.
func (g *Guest) KillProcesses(ctx context.Context) error {
	_, _, err := g.call(ctx, request{Kill: &killRequest{Signal: syscall.SIGKILL}})
	return err
}
