//go:build linux

package guest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mark tells the processes of one command from those of another, whatever they
// do to their session, parents and environment: it is a UTS namespace, which
// every child inherits and nobody inside may leave. While the file is open no
// other namespace gets its number.
type mark struct {
	fd   int
	link string // as /proc shows it
}

// newMark gives the calling thread's next children a mark of their own, with
// what they keep for capabilities.
func (p places) newMark(kept capabilities) (mark, error) {
	if err := setCapabilities(kept|marking, kept|marking); err != nil {
		return mark{}, err
	}
	err := unix.Unshare(unix.CLONE_NEWUTS)
	if err := errors.Join(err, setCapabilities(kept, kept|marking)); err != nil {
		return mark{}, fmt.Errorf("mark processes: %w", err)
	}
	fd, err := unix.Openat(int(p.proc), "thread-self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return mark{}, fmt.Errorf("mark processes: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return mark{}, errors.Join(fmt.Errorf("mark processes: %w", err), unix.Close(fd))
	}
	return mark{fd: fd, link: fmt.Sprintf("uts:[%d]", stat.Ino)}, nil
}

func (m mark) release() { _ = unix.Close(m.fd) }

func (p places) markOf(pid string) (string, error) {
	name := make([]byte, 64)
	n, err := unix.Readlinkat(int(p.proc), pid+"/ns/uts", name)
	return string(name[:max(n, 0)]), err
}

// killPatience is how long processes may take to die, on a busy machine, or
// keep ahead of who kills them.
const killPatience = 10 * time.Second

// killMarked kills until nothing with the mark is left: what dies may have forked
// since it was found.
func (p places) killMarked(m mark) error {
	end := time.Now().Add(killPatience)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		pids, err := p.processes(func(pid string) bool {
			link, err := p.markOf(pid)
			return err == nil && link == m.link // none has one that has ended
		})
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("kill command: %d processes do not die", len(pids))
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
}

// lastProcess is the number that the sandbox's newest process or thread was
// given; 0 where the kernel does not say.
func (p places) lastProcess() int {
	text, err := p.proc.ReadFile("loadavg", maxTable)
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return 0
	}
	last, _ := strconv.Atoi(fields[len(fields)-1])
	return last
}

// processes lists those that a condition holds for, but not this one.
func (p places) processes(wanted func(pid string) bool) ([]int, error) {
	names, err := p.proc.Names(".")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid > 1 && wanted(name) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
