//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// ErrGone says that the sandbox's first process has ended.
var ErrGone = errors.New("sandbox is gone")

// Guest is a running sandbox, seen from the host. Kill ends every process of
// it, and Done is closed when none is left.
type Guest struct {
	*self.Process
	mounter *mounter.Mounter
	dir     string
}

// Start starts a sandbox and returns the descriptor for the host's end of its
// network, which is then the caller's. The sandbox ends with Kill, and with
// this program, however that ends.
func Start(ctx context.Context, m *mounter.Mounter, cfg Config, group Group) (*Guest, int, error) {
	made := make(chan mounts, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { made <- makeMounts(ctx, m, cfg) }() // takes as long as a process to begin
	p, err := begin(m, cfg.Privileges, group)
	if err != nil {
		cancel()
		self.CloseAll((<-made).fds)
		return nil, -1, err
	}
	g := &Guest{Process: p, mounter: m, dir: cfg.Dir}
	network, err := g.boot(ctx, cfg, <-made, group)
	if err != nil {
		g.Kill()
		if words := g.LastWords(); errors.Is(err, ErrGone) && words != "" {
			err = errors.New(words)
		}
		return nil, -1, fmt.Errorf("set up sandbox: %w", err)
	}
	return g, network, nil
}

// mounts are descriptors of mounts or the reason why there are none.
type mounts struct {
	fds []int
	err error
}

func makeMounts(ctx context.Context, m *mounter.Mounter, cfg Config) mounts {
	fds, err := m.Mount(ctx, mounter.Request{Dir: cfg.Dir, Overlays: cfg.Overlays, Binds: cfg.Binds, Devices: devices})
	return mounts{fds, err}
}

// boot has the first process make the sandbox of the mounts.
func (g *Guest) boot(ctx context.Context, cfg Config, made mounts, group Group) (network int, err error) {
	if made.err != nil {
		return -1, made.err
	}
	defer self.CloseAll(made.fds)
	boot := bootRequest{Settings: cfg.Settings, Targets: targets(cfg.Overlays, cfg.Binds), Tasks: len(group.Tasks)}
	return g.descriptor(ctx, request{Boot: &boot}, append(made.fds, group.descriptors()...)...)
}

// targets are the mount points of overlays and then of binds.
func targets(overlays []mounter.Overlay, binds []mounter.Bind) []string {
	var paths []string
	for _, o := range overlays {
		paths = append(paths, o.Target)
	}
	for _, b := range binds {
		paths = append(paths, b.Target)
	}
	return paths
}

// begin executes the first process of a sandbox.
func begin(m *mounter.Mounter, privileges Privileges, group Group) (*self.Process, error) {
	program, err := m.Program()
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Close() }()
	options := self.Options{
		Name:    processName,
		Program: "/proc/self/fd/" + strconv.Itoa(int(program.Fd())),
		Sys:     namespaces(privileges),
		Gone:    ErrGone,
	}
	group.begin(options.Sys)
	if privileges == Identity {
		options.Begin = asNobody
	}
	p, err := self.Start(options)
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	return p, nil
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
		attr.Credential = &syscall.Credential{}
	default:
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

func (g *Guest) call(ctx context.Context, r request, fds ...int) (answer, []int, error) {
	var a answer
	passed, err := g.Call(ctx, r, &a, fds...)
	return a, passed, err
}

// descriptor makes a call that is answered with one descriptor.
func (g *Guest) descriptor(ctx context.Context, r request, fds ...int) (int, error) {
	_, passed, err := g.call(ctx, r, fds...)
	if err != nil {
		return -1, err
	}
	if len(passed) != 1 {
		self.CloseAll(passed)
		return -1, fmt.Errorf("answer with %d descriptors", len(passed))
	}
	return passed[0], nil
}
