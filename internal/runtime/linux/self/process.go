//go:build linux

package self

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how Start executes the program.
type Options struct {
	Name    string // the first argument, by which Main knows the process
	Program string // path of the program; "" = that of this process
	Sys     *syscall.SysProcAttr
	// Begin calls f, which begins the process, where the process shall begin;
	// nil = here.
	Begin func(f func() (*os.Process, error)) (*os.Process, error)
	// Gone is the error of calls to a process that has ended.
	Gone error
}

// Process is the program executed again, seen from the host.
type Process struct {
	process *os.Process
	gone    error
	done    chan struct{}
	died    string // what it said last; valid after done

	mu      sync.Mutex // guards control against a second writer
	control *net.UnixConn
}

// Start executes the program again. The process ends with Kill, and with this
// program, however that ends: its end of the control socket closes then.
func Start(o Options) (*Process, error) {
	if o.Program == "" {
		o.Program = "/proc/self/exe"
	}
	control, far, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	farEnd := os.NewFile(uintptr(far), "control")
	defer func() { _ = farEnd.Close() }()
	said, stderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open pipe: %w", err), control.Close())
	}
	defer func() { _ = stderr.Close() }()
	sys := syscall.SysProcAttr{}
	if o.Sys != nil {
		sys = *o.Sys
	}
	// A session of its own: what is one for a session, such as its place among
	// the processes that want the processor, is then none of the program's.
	sys.Setsid = true
	begin := func() (*os.Process, error) {
		return os.StartProcess(o.Program, []string{o.Name}, &os.ProcAttr{
			Dir: "/",
			// The Go runtime would keep files of the host's control groups open.
			Env: []string{"GODEBUG=containermaxprocs=0"},
			// No file of the host: it would be one more thing to reach.
			Files: []*os.File{stderr, stderr, stderr, farEnd},
			Sys:   &sys,
		})
	}
	p := &Process{control: control, gone: o.Gone, done: make(chan struct{})}
	if o.Begin == nil {
		p.process, err = begin()
	} else {
		p.process, err = o.Begin(begin)
	}
	if err != nil {
		return nil, errors.Join(err, said.Close(), control.Close())
	}
	go p.wait(said)
	return p, nil
}

// wait collects the process. Its last words explain an early death.
func (p *Process) wait(said *os.File) {
	words, _ := io.ReadAll(io.LimitReader(said, 4<<10))
	_, _ = io.Copy(io.Discard, said)
	_ = said.Close()
	_, _ = p.process.Wait()
	p.died = strings.TrimSpace(string(words))
	_ = p.control.Close()
	close(p.done)
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// LastWords is what the process said when it died of an error of its own. It
// is valid once Done is closed.
func (p *Process) LastWords() string { return p.died }

// End has the process end and waits for nothing.
func (p *Process) End() { _ = p.process.Kill() }

// Kill ends the process and waits for that.
func (p *Process) Kill() {
	p.End()
	<-p.done
}

// open starts a conversation.
func (p *Process) open() (Conversation, error) {
	near, far, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return Conversation{}, err
	}
	p.mu.Lock()
	_, _, err = p.control.WriteMsgUnix([]byte{0}, unix.UnixRights(far), nil)
	p.mu.Unlock()
	_ = unix.Close(far)
	if err != nil {
		return Conversation{}, errors.Join(p.lost(err), near.Close())
	}
	return Conversation{near}, nil
}

// lost is what a conversation that broke says of the process: nothing, where
// this side or the kernel lacks something.
func (p *Process) lost(err error) error {
	for _, lack := range []error{unix.EMFILE, unix.ENFILE, unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, lack) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", p.gone, err)
}

// Converse starts a conversation with a request and waits for the answer. The
// caller closes the conversation unless there is an error, and the descriptors.
func (p *Process) Converse(ctx context.Context, request any, a Answer, fds ...int) (Conversation, []int, error) {
	c, err := p.open()
	if err != nil {
		return Conversation{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	var passed []int
	if err = c.Send(request, fds...); err == nil {
		passed, err = c.Receive(a)
	}
	interrupted := !stop()
	switch {
	case interrupted:
		err = context.Cause(ctx)
	case err != nil:
		err = p.lost(err)
	default:
		err = a.Err()
	}
	if err != nil {
		CloseAll(passed)
		_ = c.Close()
		return Conversation{}, nil, err
	}
	return c, passed, nil
}

// Call is a conversation of one answer.
func (p *Process) Call(ctx context.Context, request any, a Answer, fds ...int) ([]int, error) {
	c, passed, err := p.Converse(ctx, request, a, fds...)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return passed, nil
}
