//go:build linux

package guest

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

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

	mu       sync.Mutex
	running  map[int]*process // by process id
	appeared chan struct{}    // holds a token when there may be children again
	started  chan struct{}    // holds a token when there is somebody to limit
}

// process is one that the host asked for.
type process struct {
	pid   int
	mark  mark
	held  int // times, by who signals it; guarded by sessions
	ended chan syscall.WaitStatus
}

func newSpawner(p places, cfg *Settings, tasks []int) (*spawner, error) {
	s := &spawner{
		places:   p,
		work:     make(chan func()),
		limits:   cfg.Limits,
		kept:     keptCapabilities(cfg.NoSetID),
		running:  map[int]*process{},
		appeared: make(chan struct{}, 1),
		started:  make(chan struct{}, 1),
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()             // for good: the rest of the process keeps its rights
		err := unix.Unshare(unix.CLONE_FS) // for a working directory of its own
		if err == nil {
			err = enterGroups(tasks)
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
	go s.keepLimits()
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
// hurting that. By then the program may have started others, which keep what
// they were born with.
func (s *spawner) limit(pid int) {
	s.limitOne(pid)
	if s.places.lastProcess() != pid {
		s.limitAll()
	}
	select {
	case s.started <- struct{}{}:
	default:
	}
}

// keepLimits looks again after each start: a process that is being born while
// its parent is limited has the old limits, and is in sight only afterwards.
func (s *spawner) keepLimits() {
	for range s.started {
		for pause := time.Millisecond; pause <= time.Second; pause *= 10 {
			time.Sleep(pause)
			s.limitAll()
		}
	}
}

// limitAll goes on while it finds processes that it has not seen.
func (s *spawner) limitAll() {
	for end := time.Now().Add(killPatience); time.Now().Before(end); {
		found := false
		_, err := s.places.processes(func(name string) bool {
			pid, err := strconv.Atoi(name)
			found = err == nil && s.limitOne(pid) || found
			return false
		})
		if err != nil || !found {
			return
		}
	}
}

// limitOne reports whether the process had more descriptors than it may have,
// as everyone has at first. Where it fails, the process has ended already.
func (s *spawner) limitOne(pid int) bool {
	var has unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &has) != nil || has.Max <= s.limits[unix.RLIMIT_NOFILE] {
		return false
	}
	_ = s.places.set(strconv.Itoa(pid)+"/oom_score_adj", sacrifice)
	for resource, most := range s.limits {
		if resource != unix.RLIMIT_NOFILE {
			_ = lower(pid, resource, most)
		}
	}
	return lower(pid, unix.RLIMIT_NOFILE, s.limits[unix.RLIMIT_NOFILE]) == nil // the last: it tells who has the others
}

func lower(pid, resource int, most uint64) error {
	var has unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &has); err != nil || has.Max <= most {
		return err
	}
	return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(has.Cur, most), Max: most}, nil)
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
