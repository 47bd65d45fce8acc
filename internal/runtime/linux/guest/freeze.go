//go:build linux

package guest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// freezeRequest stops every process that runs until the conversation ends.
type freezeRequest struct{}

// Freeze stops every process of the sandbox but the first, and returns what
// lets those go on that ran before. Whatever becomes of the caller, they go on
// or end with it.
func (g *Guest) Freeze(ctx context.Context) (thaw func() error, err error) {
	c, _, err := g.Converse(ctx, request{Freeze: &freezeRequest{}}, &answer{})
	if err != nil {
		return nil, err
	}
	return func() error {
		err := c.Send(request{}) // that they shall go on
		var a answer
		if err == nil {
			_, err = c.Receive(&a)
		}
		if err != nil {
			err = ErrGone
		}
		_ = c.Close()
		return errors.Join(err, a.Err())
	}, nil
}

func (a *agent) freeze(c self.Conversation) error {
	gone := make(chan struct{}) // the host lets them go on, or does not wait any more
	go func() {
		defer close(gone)
		var r request
		_, _ = c.Receive(&r)
	}()
	a.spawner.mu.Lock() // so that nothing begins meanwhile
	defer a.spawner.mu.Unlock()
	f := freeze{places: a.places, stopped: map[int]bool{}}
	defer f.resume()
	if err := f.stop(gone); err != nil {
		return err
	}
	if err := c.Send(answer{}); err != nil {
		return err
	}
	<-gone
	if err := f.stayed(); err != nil {
		return err
	}
	f.resume()
	return c.Send(answer{})
}

// freeze stops processes by signals.
type freeze struct {
	places  places
	stopped map[int]bool // by this freeze, and not before it
}

// stop signals until nothing runs: what was found running may have begun other
// processes since, and a signal from inside has a process go on.
func (f *freeze) stop(gone <-chan struct{}) error {
	before := map[int]bool{}
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		all, err := f.places.table()
		if err != nil {
			return fmt.Errorf("stop processes: %w", err)
		}
		seen := map[int]bool{}
		still := true
		for _, p := range all {
			seen[p.pid] = p.stands
			still = still && p.stands && before[p.pid]
			// A process that waits for its child to execute a program stands only
			// when it has: so the child first goes on.
			if p.stands || f.awaited(all, p) {
				continue
			}
			f.stopped[p.pid] = true
			_ = syscall.Kill(p.pid, syscall.SIGSTOP)
		}
		if still {
			return nil // since all were found standing, none was there that was not
		}
		before = seen
		select {
		case <-gone:
			return errors.New("stop processes: not wanted any more")
		case <-time.After(pause):
		}
	}
}

// stayed says whether nothing has gone on since, as by a timer of its own.
func (f *freeze) stayed() error {
	all, err := f.places.table()
	if err == nil && slices.ContainsFunc(all, func(p running) bool { return !p.stands }) {
		err = errors.New("some went on by themselves")
	}
	if err != nil {
		return fmt.Errorf("stop processes: %w", err)
	}
	return nil
}

// awaited reports whether a process is the child of one that waits without
// hearing signals.
func (f *freeze) awaited(all []running, p running) bool {
	return slices.ContainsFunc(all, func(parent running) bool { return parent.pid == p.parent && parent.waits })
}

// resume lets processes go on that stop has stopped, the youngest first: a
// shell that went on before its job would take that for stopped by its user.
func (f *freeze) resume() {
	all, err := f.places.table()
	if err != nil { // some of them may have ended; to others the signal means nothing
		for pid := range f.stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		return
	}
	for _, p := range slices.Backward(all) {
		if f.stopped[p.pid] {
			delete(f.stopped, p.pid)
			_ = syscall.Kill(p.pid, syscall.SIGCONT)
		}
	}
}

// running is a process as the kernel's table has it.
type running struct {
	pid, parent int
	depth       int
	stands      bool // none of its threads runs
	waits       bool // one of its threads can hear no signal
}

// table lists the processes, parents before their children, without the first
// one and those that have ended.
func (p places) table() ([]running, error) {
	var all []running
	_, err := p.processes(func(pid string) bool {
		if r, ok := p.state(pid); ok {
			all = append(all, r)
		}
		return false
	})
	parents := map[int]int{}
	for _, r := range all {
		parents[r.pid] = r.parent
	}
	for i := range all {
		for at := all[i].pid; parents[at] != 0 && all[i].depth <= len(all); at = parents[at] {
			all[i].depth++
		}
	}
	slices.SortStableFunc(all, func(a, b running) int { return cmp.Compare(a.depth, b.depth) })
	return all, err
}

// state looks at every thread: the first one may have ended before the others.
func (p places) state(pid string) (running, bool) {
	r := running{stands: true}
	r.pid, _ = strconv.Atoi(pid)
	tasks, err := p.proc.Names(pid + "/task")
	if err != nil {
		return running{}, false
	}
	alive := false
	for _, task := range tasks {
		stat, err := p.proc.ReadFile(pid+"/task/"+task+"/stat", maxTable)
		if err != nil {
			continue // ended
		}
		// "pid (name) state ppid": the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		r.parent, _ = strconv.Atoi(fields[1])
		switch fields[0] {
		case "Z", "X":
			continue
		case "T", "t":
		case "D":
			r.stands, r.waits = false, true
		default:
			r.stands = false
		}
		alive = true
	}
	return r, alive
}
