//go:build linux

package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// freezePatience is how long programs may take to stand still: one that waits
// for a disk stands when that has answered.
const freezePatience = 10 * time.Second

var errRestless = errors.New("its processes do not stand still")

// frozen calls f while no program of the sandbox runs. What f made is of one
// moment unless there is an error.
func (s *sandbox) frozen(ctx context.Context, f func() error) (err error) {
	select {
	case s.freezing <- struct{}{}:
		defer func() { <-s.freezing }()
	case <-s.guest.Done():
		return guest.ErrGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	freeze := s.group.freeze
	if !s.group.freezes() {
		freeze = s.guest.Freeze
	}
	waiting, cancel := context.WithTimeoutCause(ctx, freezePatience, errRestless)
	defer cancel()
	thaw, err := freeze(waiting)
	if err != nil {
		return fmt.Errorf("freeze processes: %w", err)
	}
	defer func() { err = errors.Join(err, thaw()) }()
	return f()
}

// kill ends every process of the sandbox and waits for that.
func (s *sandbox) kill() {
	s.guest.End()
	s.group.end()
	s.guest.Kill()
}

// freezer is how a control group is frozen.
type freezer struct {
	file, on, off string
	state, stands string // the file that says whether all stand still, and its line
}

func (g *cgroup) freezer() freezer { return freezerIn(g.dirs[freezerController]) }

func freezerIn(dir string) freezer {
	file := filepath.Join(dir, "freezer.state")
	return freezer{file, "FROZEN", "THAWED", file, "FROZEN"}
}

func (f freezer) set(value string) error { return os.WriteFile(f.file, []byte(value), 0) }

func (f freezer) still() (bool, error) {
	b, err := os.ReadFile(f.state)
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(b) {
		if string(bytes.TrimSpace(line)) == f.stands {
			return true, nil
		}
	}
	return false, nil
}

// freezes reports whether the group can be frozen: one of version 1. In one of
// version 2 the first process would be frozen, too.
func (g *cgroup) freezes() bool {
	if g == nil || g.dirs[freezerController] == "" {
		return false
	}
	_, err := os.Stat(g.freezer().file)
	return err == nil
}

// freeze stops the group's processes, all at once, and returns what lets them
// go on. They are left running where there is an error.
func (g *cgroup) freeze(ctx context.Context) (thaw func() error, err error) {
	f := g.freezer()
	if err := g.set(f, f.on); err != nil {
		return nil, err
	}
	thaw = func() error { return g.set(f, f.off) }
	wait := 50 * time.Microsecond
	for try := 1; ; try++ {
		still, err := f.still()
		if err == nil && still {
			return thaw, nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && try%someTries == 0 {
			// Two of its processes may wait for each other, one of them frozen.
			err = thaw()
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			err = g.set(f, f.on)
		}
		if err != nil {
			return nil, errors.Join(err, thaw())
		}
		time.Sleep(wait)
		wait = min(2*wait, time.Millisecond)
	}
}

// someTries are made before those that stand are let go for a moment.
const someTries = 50

// set freezes the group or lets it go, unless end has let it go for good: then
// what it was frozen for is lost.
func (g *cgroup) set(f freezer, state string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return guest.ErrGone
	}
	return f.set(state)
}

// end lets frozen processes go, for good: version 1 keeps them from dying.
func (g *cgroup) end() {
	if !g.freezes() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	f := g.freezer()
	_ = f.set(f.off) // a group that is gone holds nobody
}
