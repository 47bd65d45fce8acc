//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
)

// HostName is what sandboxes call this machine's loopback, as far as it is
// open to them.
const HostName = network.HostName

// TunnelHost is the address of this machine's loopback at which sandboxes reach
// what runtime.Network.Open opens to them.
const TunnelHost = network.TunnelIP

// sandbox implements runtime.Sandbox.
type sandbox struct {
	runtime  *Runtime
	spec     runtime.Spec
	image    layers.Image
	files    *layers.Sandbox
	guest    *guest.Guest
	network  *network.Network
	group    *cgroup // nil where the machine has none to give
	warnings []string

	freezing chan struct{} // holds a token while the programs are frozen

	main *process
	busy atomic.Int64 // execs and connections

	mu      sync.Mutex // guards over, and Add of running against Wait
	over    bool
	running sync.WaitGroup // processes whose end is not known yet

	done chan struct{}
	err  error // of cleaning up; valid after done
}

func (s *sandbox) Main() runtime.Process { return s.main }
func (s *sandbox) Done() <-chan struct{} { return s.done }
func (s *sandbox) Busy() bool            { return s.busy.Load() > 0 }
func (s *sandbox) Warnings() []string    { return s.warnings }
func (s *sandbox) Files() runtime.Files  { return files{s} }

// enter counts a process. It reports false once the sandbox has ended.
func (s *sandbox) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.running.Add(1)
	return true
}

// Exec starts a further process.
func (s *sandbox) Exec(ctx context.Context, spec runtime.ExecSpec) (runtime.Process, error) {
	s.busy.Add(1)
	p, err := s.launch(ctx, spec, func() { s.busy.Add(-1) })
	if err != nil {
		s.busy.Add(-1)
		return nil, s.ended(err)
	}
	return p, nil
}

// ended turns the loss of the sandbox into the error that the seam has for it.
func (s *sandbox) ended(err error) error {
	if errors.Is(err, guest.ErrGone) {
		return fmt.Errorf("sandbox %s: %w", s.spec.ID, runtime.ErrEnded)
	}
	return err
}

// Dial connects to a port inside.
func (s *sandbox) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	c, err := s.guest.Dial(ctx, port)
	if err != nil {
		return nil, s.ended(err)
	}
	s.busy.Add(1)
	return &connection{TCPConn: c, closed: sync.OnceFunc(func() { s.busy.Add(-1) })}, nil
}

// connection counts as activity while it is open.
type connection struct {
	*net.TCPConn
	closed func()
}

func (c *connection) Close() error {
	c.closed()
	return c.TCPConn.Close()
}

// Terminate kills every process and waits until nothing is left.
func (s *sandbox) Terminate(ctx context.Context) error {
	s.kill()
	select {
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("terminate sandbox %s: %w", s.spec.ID, context.Cause(ctx))
	}
	if s.err != nil {
		return fmt.Errorf("terminate sandbox %s: %w", s.spec.ID, s.err)
	}
	return nil
}
