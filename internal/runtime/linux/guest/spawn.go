//go:build linux

package guest

import (
	"errors"
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
	places places
	work   chan func()
	limits Limits
	kept   capabilities
	group  group

	mu       sync.Mutex
	running  map[int]*process // by process id
	appeared chan struct{}    // holds a token when there may be children again
}

// process is one that the host asked for.
type process struct {
	pid   int
	mark  mark
	held  int // times, by who signals it; guarded by sessions
	ended chan syscall.WaitStatus
}

func newSpawner(p places, cfg *Settings, g group) (*spawner, error) {
	s := &spawner{
		places:   p,
		work:     make(chan func()),
		limits:   cfg.Limits,
		kept:     keptCapabilities(cfg.NoSetID),
		group:    g,
		running:  map[int]*process{},
		appeared: make(chan struct{}, 1),
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()             // for good: the rest of the process keeps its rights
		err := unix.Unshare(unix.CLONE_FS) // for a working directory of its own
		if err == nil {
			err = g.enter()
		}
		if err == nil {
			err = restrict(p, cfg)
		}
		ready <- err
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

// do runs f on the thread.
func (s *spawner) do(f func()) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// start runs a program as the leader of a session of its own, in a directory
// given by its descriptor. The kernel looks the program up, and what its first
// line names, with the rights of the thread.
func (s *spawner) start(dir int, path string, args []string, attr *syscall.ProcAttr) (*process, error) {
	p := &process{ended: make(chan syscall.WaitStatus, 1)}
	s.group.begin(attr.Sys)
	// Held until the process is known, so that its end is not missed.
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	s.do(func() {
		if p.mark, err = s.places.newMark(s.kept); err != nil {
			return
		}
		if err = unix.Fchdir(dir); err == nil {
			p.pid, err = syscall.ForkExec(path, args, attr)
			_ = unix.Fchdir(int(s.places.root))
		}
		if err != nil {
			p.mark.release()
		}
	})
	if err != nil {
		return nil, &os.PathError{Op: "exec", Path: args[0], Err: err}
	}
	s.running[p.pid] = p
	s.limit(p.pid)
	select {
	case s.appeared <- struct{}{}:
	default:
	}
	return p, nil
}

// limit applies what cannot be inherited from the first process without
// hurting that. Where it fails, the process has ended already.
func (s *spawner) limit(pid int) {
	_ = s.places.set(strconv.Itoa(pid)+"/oom_score_adj", sacrifice)
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

// kill signals every process of the session that p leads or led. SIGKILL ends
// everything that came of p, in whatever session.
func (s *spawner) kill(p *process, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return s.places.killMarked(p.mark)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if leader := s.running[p.pid]; leader != nil && leader != p {
		return nil // the number belongs to another session by now
	}
	pids, err := s.places.sessionMembers(p.pid)
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal)
	}
	return err
}
