//go:build linux

package guest

import (
	"runtime"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
)

// threads are threads of this process that have no more rights than a program
// of the sandbox. They look up what the host names, where a program may have
// put anything.
type threads struct {
	root inroot.Root
	cfg  *Settings
	idle chan chan func() // those that wait for work
}

// mostIdle is how many threads stay for the next call.
const mostIdle = 2

func newThreads(root inroot.Root, cfg *Settings) *threads {
	return &threads{root: root, cfg: cfg, idle: make(chan chan func(), mostIdle)}
}

// do runs f on such a thread. The error is that there is none.
func (t *threads) do(f func()) error {
	var work chan func()
	select {
	case work = <-t.idle:
	default:
		work = make(chan func())
		ready := make(chan error)
		go t.run(work, ready)
		if err := <-ready; err != nil {
			return err
		}
	}
	done := make(chan struct{})
	work <- func() {
		defer close(done)
		f()
	}
	<-done
	select {
	case t.idle <- work:
	default:
		close(work)
	}
	return nil
}

func (t *threads) run(work chan func(), ready chan<- error) {
	runtime.LockOSThread() // for good: the rest of the process keeps its rights
	err := t.restrict()
	ready <- err
	if err != nil {
		return
	}
	for f := range work {
		f()
	}
}

// restrict takes from the calling thread what a program of the sandbox has not.
// It starts none, so a filter of system calls would be for nothing.
func (t *threads) restrict() error {
	if !t.cfg.Nesting {
		if err := confine(t.root); err != nil {
			return err
		}
	}
	kept := keptCapabilities(t.cfg.NoSetID)
	if err := dropCapabilities(kept); err != nil {
		return err
	}
	return setCapabilities(kept, kept)
}
