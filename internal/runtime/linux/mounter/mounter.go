//go:build linux

package mounter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Overlay is one overlay mount. Relative paths lie below the directory of the
// request: mount tables show them as they are.
type Overlay struct {
	Target      string   // absolute, in the sandbox
	Lower       []string // topmost first
	Upper, Work string
}

// Bind shows a directory of the host inside the sandbox.
type Bind struct {
	Source   string
	Target   string // absolute, in the sandbox
	ReadOnly bool
}

// Request asks for mounts, which come back in this order.
type Request struct {
	Dir      string // absolute; relative paths lie below it
	Overlays []Overlay
	Binds    []Bind
	Devices  []string // files of /dev, by name, shown read-only: their inodes are the host's
}

// Mounter is the host's hold on the process. The zero value is ready; it begins
// the process when it is first needed, and anew should it have ended.
type Mounter struct {
	mu     sync.Mutex
	helper *helper
	closed bool
}

// helper is one such process.
type helper struct {
	*self.Process
	program int // descriptor of the read-only mount of the program
}

var errGone = errors.New("process that makes mounts is gone")

// Begin begins the process, if there is none.
func (m *Mounter) Begin() { _, _ = m.get() }

func (m *Mounter) get() (*helper, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running()
}

// running returns the process. The lock is held.
func (m *Mounter) running() (*helper, error) {
	if m.closed {
		return nil, errGone
	}
	if m.helper != nil {
		select {
		case <-m.helper.Done():
			m.end()
		default:
			return m.helper, nil
		}
	}
	h, err := begin()
	m.helper = h
	return h, err
}

// end lets go of the process.
func (m *Mounter) end() {
	m.helper.Kill()
	_ = unix.Close(m.helper.program)
	m.helper = nil
}

// Close ends the process and waits for that.
func (m *Mounter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.helper != nil {
		m.end()
	}
}

func begin() (*helper, error) {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	// Root mounts with its own rights: in a user namespace of its own, set-user-ID
	// programs would not work on its mounts in another one.
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	p, err := self.Start(self.Options{Name: processName, Sys: attr, Gone: errGone})
	if err != nil {
		return nil, fmt.Errorf("start process that makes mounts: %w", err)
	}
	h := &helper{Process: p}
	if h.program, err = h.sealed(); err != nil {
		p.Kill()
		if words := p.LastWords(); words != "" {
			err = errors.New(words)
		}
		return nil, fmt.Errorf("start process that makes mounts: %w", err)
	}
	return h, nil
}

// sealed gets the program as nobody can change it.
func (h *helper) sealed() (int, error) {
	fds, err := h.Call(context.Background(), request{Program: true}, &self.Result{})
	if err != nil {
		return -1, err
	}
	if len(fds) != 1 {
		self.CloseAll(fds)
		return -1, fmt.Errorf("answer with %d descriptors", len(fds))
	}
	return fds[0], nil
}

// Program is the program that this process runs, as nobody can change it. The
// caller closes it.
func (m *Mounter) Program() (*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, err := m.running()
	if err != nil {
		return nil, err
	}
	// Far from the low numbers, which a new process gives to other files.
	const high = 64
	fd, err := unix.FcntlInt(uintptr(h.program), unix.F_DUPFD_CLOEXEC, high)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	return os.NewFile(uintptr(fd), "program"), nil
}

// Mount makes mounts that belong nowhere. Their descriptors are the caller's.
func (m *Mounter) Mount(ctx context.Context, r Request) ([]int, error) {
	want := len(r.Overlays) + len(r.Binds) + len(r.Devices)
	if want > self.MaxDescriptors {
		return nil, fmt.Errorf("make mounts: %d are too many", want)
	}
	fds, err := m.mount(ctx, r)
	if errors.Is(err, errGone) {
		fds, err = m.mount(ctx, r) // by the next one
	}
	if err == nil && len(fds) != want {
		self.CloseAll(fds)
		return nil, fmt.Errorf("make mounts: answer with %d of %d", len(fds), want)
	}
	return fds, err
}

func (m *Mounter) mount(ctx context.Context, r Request) ([]int, error) {
	h, err := m.get()
	if err != nil {
		return nil, err
	}
	fds, err := h.Call(ctx, request{Mount: &r}, &self.Result{})
	if errors.Is(err, errGone) {
		h.Kill() // so that it is known to have ended
	}
	return fds, err
}

// Copy copies what the directory src holds into the empty directory dst. It
// reads every file, whatever its mode, and ends soon after ctx does.
func (m *Mounter) Copy(ctx context.Context, dst, src *os.File, kind tree.Kind) error {
	h, err := m.get()
	if err != nil {
		return err
	}
	_, err = h.Call(ctx, request{Copy: &copyRequest{Kind: kind}}, &self.Result{}, int(dst.Fd()), int(src.Fd()))
	return err
}
