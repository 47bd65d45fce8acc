package seer

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

var (
	//go:embed python/interrupts.py
	interruptsPy string
	//go:embed python/interpreter.py
	interpreterPy string
	// interpreterScript is the Python side of an interpreter; its docstring
	// describes the protocol.
	interpreterScript = interruptsPy + interpreterPy
)

// outputLimit is how many bytes are kept of what a piece of code shows, as
// options ask for it.
func outputLimit(asked int64) int64 {
	const least = 64 << 10
	if asked == 0 {
		return jupyter.DefaultOutputLimit
	}
	return max(asked, least)
}

// interpreter is a Python process whose variables stay from call to call. It
// runs one piece of code at a time.
type interpreter struct {
	launch func(ctx context.Context) (*pythonProcess, error)
	limit  time.Duration // for each run; 0 = none
	output int64         // bytes kept of what each run shows

	libraries string // where packages are imported from; "" = it knows by itself

	turn chan struct{} // holds one token: who has it may run code

	mu      sync.Mutex
	process *pythonProcess
	environ map[string]string // what libraries need
	inits   []string          // code that every new process runs first; "" = none
	closed  bool
}

func newInterpreter(launch func(context.Context) (*pythonProcess, error), limit time.Duration, output int64) *interpreter {
	i := &interpreter{launch: launch, limit: limit, output: outputLimit(output), turn: make(chan struct{}, 1), environ: map[string]string{}}
	i.turn <- struct{}{}
	return i
}

// setup adds variables and init code, for this process and those to come.
func (i *interpreter) setup(ctx context.Context, environ map[string]string, init string) error {
	if err := i.take(ctx); err != nil {
		return err
	}
	defer i.give()
	p, err := i.live("set up session")
	if err != nil {
		return err
	}
	i.mu.Lock()
	maps.Copy(i.environ, environ)
	i.mu.Unlock()
	if err := i.prepare(ctx, p, environ, []string{init}); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inits = append(i.inits, init)
	return nil
}

func (i *interpreter) prepare(ctx context.Context, p *pythonProcess, environ map[string]string, inits []string) error {
	if err := p.send(ctx, "set environment", request{Op: "environ", Values: environ, Libraries: i.libraries}); err != nil {
		return err
	}
	for _, code := range inits {
		if code == "" {
			continue
		}
		if _, err := p.run(ctx, code, i.output, nil); err != nil {
			return fmt.Errorf("run init code: %w", err)
		}
	}
	return nil
}

// run runs code and returns what it showed, also when it fails. OnText, if
// not nil, takes what it prints at once.
func (i *interpreter) run(ctx context.Context, code string, onText func(string)) (*Result, error) {
	if err := i.take(ctx); err != nil {
		return nil, err
	}
	defer i.give()
	p, err := i.live("run code")
	if err != nil {
		return nil, err
	}
	if i.limit == 0 {
		return p.run(ctx, code, i.output, onText)
	}
	limited, cancel := context.WithTimeout(ctx, i.limit)
	defer cancel()
	result, err := p.run(limited, code, i.output, onText)
	var timeout *TimeoutError
	if errors.As(err, &timeout) && ctx.Err() == nil {
		timeout.After = i.limit
	}
	return result, err
}

// interrupt stops the code that runs, if any does.
func (i *interpreter) interrupt(ctx context.Context) error {
	p, err := i.live("interrupt code")
	if err != nil {
		return err
	}
	return p.interrupt(ctx)
}

// restart ends the process, with whatever it runs, and starts another one.
func (i *interpreter) restart(ctx context.Context) error {
	i.mu.Lock()
	old := i.process
	i.mu.Unlock()
	if old != nil {
		old.end(errRestarted)
	}
	if err := i.take(ctx); err != nil {
		return err
	}
	defer i.give()
	return i.start(ctx)
}

var errRestarted = errors.New("it was restarted")

// start is called with the turn taken.
func (i *interpreter) start(ctx context.Context) error {
	i.mu.Lock()
	closed, environ, inits := i.closed, maps.Clone(i.environ), slices.Clone(i.inits)
	i.mu.Unlock()
	if closed {
		return fmt.Errorf("start python: %w", errSessionClosed)
	}
	p, err := i.launch(ctx)
	if err != nil {
		return fmt.Errorf("start python: %w", err)
	}
	i.mu.Lock()
	i.process, closed = p, i.closed
	i.mu.Unlock()
	if closed {
		p.end(errSessionClosed)
	}
	return i.prepare(ctx, p, environ, inits)
}

var errSessionClosed = errors.New("session is closed")

// close ends the process, and waits.
func (i *interpreter) close() {
	i.mu.Lock()
	i.closed = true
	p := i.process
	i.mu.Unlock()
	if p != nil {
		p.end(errSessionClosed)
	}
}

func (i *interpreter) take(ctx context.Context) error {
	select {
	case <-i.turn:
		return nil
	case <-ctx.Done():
		return runError("wait for the code before", ctx.Err())
	}
}

func (i *interpreter) give() { i.turn <- struct{}{} }

// live is the process, also one that has died. Doing is for the error after
// close.
func (i *interpreter) live(doing string) (*pythonProcess, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return nil, fmt.Errorf("%s: %w", doing, errSessionClosed)
	}
	return i.process, nil
}
