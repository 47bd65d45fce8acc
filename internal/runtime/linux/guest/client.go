//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that the sandbox's first process has ended.
var ErrGone = errors.New("sandbox is gone")

// Guest is a running sandbox, seen from the host.
type Guest struct {
	process *os.Process
	done    chan struct{} // closed when the first process, and so every other, has ended
	died    string        // what it said last; valid after done

	mu      sync.Mutex // guards control against a second writer
	control *net.UnixConn
}

// Start starts a sandbox and returns the descriptor for the host's end of its
// network, which is then the caller's. The sandbox ends with Kill, and with
// this program, however that ends: its end of the control socket closes then.
func Start(ctx context.Context, cfg Config, group Group) (*Guest, int, error) {
	g, err := launch(cfg.Privileges, group)
	if err != nil {
		return nil, -1, err
	}
	_, fds, err := g.call(ctx, request{Boot: &cfg})
	if err == nil && len(fds) != 1 {
		err = fmt.Errorf("answer with %d descriptors", len(fds))
	}
	if err != nil {
		closeAll(fds)
		g.Kill()
		if errors.Is(err, ErrGone) && g.died != "" {
			err = errors.New(g.died)
		}
		return nil, -1, fmt.Errorf("set up sandbox: %w", err)
	}
	return g, fds[0], nil
}

// Group is the control group that a sandbox starts in. The zero value is the
// program's own.
type Group struct {
	// Unified is the directory of a group of version 2.
	Unified *os.File
	// Enter are the "tasks" files of groups of version 1, Leave those of the
	// groups of this process in the same hierarchies.
	Enter, Leave []string
}

// start runs f such that a process started by it is in the group.
func (g Group) start(f func() (*os.Process, error)) (p *os.Process, err error) {
	if len(g.Enter) == 0 {
		return f()
	}
	// Moving a process takes milliseconds, moving the own thread takes none,
	// and a child begins where its parent is.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		err = moveThread(g.Enter)
		if err == nil {
			p, err = f()
		}
		// A thread that cannot go back is not used again.
		if moveThread(g.Leave) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return p, err
}

func moveThread(tasks []string) error {
	for _, file := range tasks {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

func launch(privileges Privileges, group Group) (*Guest, error) {
	control, far, err := socketPair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	g := &Guest{control: control, done: make(chan struct{})}
	farEnd := os.NewFile(uintptr(far), "control")
	defer func() { _ = farEnd.Close() }()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, control.Close())
	}
	defer func() { _ = null.Close() }()
	said, stderr, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open pipe: %w", err), control.Close())
	}
	defer func() { _ = stderr.Close() }()
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   []string{},
		Files: []*os.File{null, null, stderr, farEnd},
		Sys:   namespaces(privileges),
	}
	if group.Unified != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.Unified.Fd())
	}
	g.process, err = group.start(func() (*os.Process, error) {
		return os.StartProcess("/proc/self/exe", []string{processName}, attr)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start sandbox: %w", err), said.Close(), control.Close())
	}
	go g.wait(said)
	return g, nil
}

func namespaces(privileges Privileges) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET,
	}
	switch privileges {
	case Host:
	case Identity:
		const everyone = 1<<32 - 1
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{Size: everyone}}
		attr.GidMappings = attr.UidMappings
		attr.GidMappingsEnableSetgroups = true
	default:
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// wait collects the first process. Its last words explain an early death.
func (g *Guest) wait(said *os.File) {
	words, _ := io.ReadAll(io.LimitReader(said, 4<<10))
	_, _ = io.Copy(io.Discard, said)
	_ = said.Close()
	_, _ = g.process.Wait()
	g.died = strings.TrimSpace(string(words))
	_ = g.control.Close()
	close(g.done)
}

// Done is closed when no process of the sandbox is left.
func (g *Guest) Done() <-chan struct{} { return g.done }

// LastWords is what the first process said when it died of an error of its
// own. It is valid once Done is closed.
func (g *Guest) LastWords() string { return g.died }

// Kill ends every process of the sandbox and waits for that.
func (g *Guest) Kill() {
	_ = g.process.Kill()
	<-g.done
}

// open starts a conversation.
func (g *Guest) open() (conversation, error) {
	near, far, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return conversation{}, err
	}
	g.mu.Lock()
	_, _, err = g.control.WriteMsgUnix([]byte{0}, unix.UnixRights(far), nil)
	g.mu.Unlock()
	_ = unix.Close(far)
	if err != nil {
		return conversation{}, errors.Join(ErrGone, near.Close())
	}
	return conversation{near}, nil
}

// converse starts a conversation with a request and waits for the answer. The
// caller closes the conversation unless there is an error, and the descriptors.
func (g *Guest) converse(ctx context.Context, r request, fds ...int) (conversation, answer, []int, error) {
	c, err := g.open()
	if err != nil {
		return conversation{}, answer{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	var a answer
	var passed []int
	if err = c.send(r, fds...); err == nil {
		passed, err = c.receive(&a)
	}
	interrupted := !stop()
	switch {
	case interrupted:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrGone, err)
	case a.Failure != nil:
		err = a.Failure.err()
	default:
		return c, a, passed, nil
	}
	closeAll(passed)
	_ = c.Close()
	return conversation{}, answer{}, nil, err
}

func (g *Guest) call(ctx context.Context, r request, fds ...int) (answer, []int, error) {
	c, a, passed, err := g.converse(ctx, r, fds...)
	if err != nil {
		return a, nil, err
	}
	_ = c.Close()
	return a, passed, nil
}
