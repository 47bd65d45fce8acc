//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// sacrifice makes the kernel's killer of memory hogs prefer the sandbox's
// programs to its first process and to the host's programs.
const sacrifice = "500"

// spawner starts processes from a thread of reduced rights, which they
// inherit, and reaps them and every orphan.
type spawner struct {
	work   chan func()
	limits Limits

	mu       sync.Mutex
	running  map[int]*process // by process id
	appeared chan struct{}    // holds a token when there may be children again
}

// process is one that the host asked for.
type process struct {
	pid   int
	ended chan syscall.WaitStatus
}

func newSpawner(privileges Privileges, limits Limits) (*spawner, error) {
	s := &spawner{
		work:     make(chan func()),
		limits:   limits,
		running:  map[int]*process{},
		appeared: make(chan struct{}, 1),
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the rest of the process keeps its rights
		ready <- restrict(privileges)
		for f := range s.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	go s.reap()
	return s, nil
}

func restrict(privileges Privileges) error {
	// What starts here would share the host's session keyring: a login's
	// Kerberos tickets, say. Where nobody may use keys there is nothing to share.
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("leave session keyring: %w", err)
	}
	if privileges == Mapped {
		if err := ignoreOwners(); err != nil {
			return err
		}
	}
	return dropCapabilities()
}

// start runs a program as the leader of a session of its own.
func (s *spawner) start(path string, args []string, attr *syscall.ProcAttr) (*process, error) {
	p := &process{ended: make(chan syscall.WaitStatus, 1)}
	var err error
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		// Held until the process is known, so that its end is not missed.
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.pid, err = syscall.ForkExec(path, args, attr); err == nil {
			s.running[p.pid] = p
			s.limit(p.pid)
		}
	}
	<-done
	if err != nil {
		return nil, &os.PathError{Op: "exec", Path: args[0], Err: err}
	}
	select {
	case s.appeared <- struct{}{}:
	default:
	}
	return p, nil
}

// limit applies what cannot be inherited from the first process without
// hurting that. Where it fails, the process has ended already.
func (s *spawner) limit(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(sacrifice), 0)
	for resource, most := range map[int]int64{
		unix.RLIMIT_NPROC: s.limits.Processes,
		unix.RLIMIT_DATA:  s.limits.Data,
	} {
		if most > 0 {
			_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: uint64(most), Max: uint64(most)}, nil)
		}
	}
}

func (s *spawner) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			<-s.appeared
			continue
		case err != nil:
			continue
		}
		s.mu.Lock()
		p := s.running[pid]
		delete(s.running, pid)
		s.mu.Unlock()
		if p != nil {
			p.ended <- status
		}
	}
}

// kill signals every process of the session that p leads or led.
func (s *spawner) kill(p *process, signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if leader := s.running[p.pid]; leader != nil && leader != p {
		return nil // the number belongs to another session by now
	}
	signalled := map[int]bool{}
	for {
		pids, err := sessionMembers(p.pid)
		if err != nil {
			return err
		}
		fresh := false
		for _, pid := range pids {
			if !signalled[pid] {
				signalled[pid], fresh = true, true
				_ = syscall.Kill(pid, signal)
			}
		}
		// What dies may have forked since it was found: look again until
		// nothing new appears.
		if !fresh || signal != syscall.SIGKILL {
			return nil
		}
	}
}
