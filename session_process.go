package seer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

const (
	// interruptGrace is how long interrupted code may take to stop before its
	// interpreter is killed.
	interruptGrace = 5 * time.Second
	// floodGrace is the same for code that shows more than anybody keeps, although
	// its interpreter sends no more than that.
	floodGrace = 700 * time.Millisecond
	// maxIdleOutput bounds what background threads may print between two pieces
	// of code, in bytes: the rest is dropped.
	maxIdleOutput = 1 << 20
)

// pythonProcess is one life of an interpreter. What it says comes from where
// the user's code runs, and may be that code's: nothing depends on it but what
// the code seems to show, and when it seems to have ended.
type pythonProcess struct {
	stdin     io.WriteCloser
	interrupt func(ctx context.Context) error
	kill      func()        // ends it and what it started
	over      chan struct{} // closed when it has ended and everything it said was read
	ready     chan struct{} // closed when it has said that it is
	pid       int           // in the place where it runs, as it says; set before ready is closed

	mu    sync.Mutex
	known bool  // ready is closed
	cause error // why it ended
	cell  *cell // what runs, or what will get the output of background threads
}

// cell collects what a piece of code shows. All but its channels is guarded by
// the process.
type cell struct {
	id      string // "" = nothing runs
	started chan struct{}
	done    chan struct{}
	begun   bool // started is closed: an interrupt would reach it
	onText  func(string)
	limit   int64
	outputs *jupyter.Outputs
}

func newCell(limit int64) *cell {
	return &cell{started: make(chan struct{}), done: make(chan struct{}), limit: limit, outputs: jupyter.NewOutputs(limit)}
}

// awaitPython reads the first event and keeps reading in the background. Wait
// returns when the process has ended, and leaves nothing of it behind.
func awaitPython(ctx context.Context, p *pythonProcess, stdout io.ReadCloser, limit int64, wait func() error) error {
	p.over, p.ready, p.cell = make(chan struct{}), make(chan struct{}), newCell(maxIdleOutput)
	read, exited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		p.read(stdout, limit)
		_ = stdout.Close() // who still writes is not heard
	}()
	go func() {
		err := wait()
		close(exited)
		<-read
		p.because(err)
		close(p.over)
	}()
	go func() {
		<-read
		p.mute(exited)
	}()
	select {
	case <-p.ready:
		return nil
	case <-p.over:
		return p.death("wait until it is ready")
	case <-ctx.Done():
		p.end(ctx.Err())
		return runError("wait until it is ready", ctx.Err())
	}
}

// mute ends a process that can say nothing more, soon.
func (p *pythonProcess) mute(exited <-chan struct{}) {
	timer := time.NewTimer(outputGrace)
	defer timer.Stop()
	select {
	case <-exited:
	case <-timer.C:
		p.because(errors.New("it closed the descriptors that it is driven by"))
		p.kill()
	}
}

func (p *pythonProcess) read(stdout io.Reader, limit int64) {
	events := newEventReader(stdout, limit)
	for {
		e, err := events.next()
		if err != nil {
			return
		}
		p.deliver(&e)
	}
}

// deliver takes an event if this is its time, and ignores it if not.
func (p *pythonProcess) deliver(e *event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := p.cell.id != "" && e.ID == p.cell.id
	switch e.Event {
	case "ready":
		if !p.known && e.PID > 1 {
			p.known, p.pid = true, e.PID
			close(p.ready)
		}
	case "started":
		if running && !p.cell.begun {
			p.cell.begun = true
			close(p.cell.started)
		}
	case "done":
		if running && p.cell.begun {
			close(p.cell.done)
			p.cell = newCell(maxIdleOutput)
		}
	default:
		p.cell.show(e)
	}
}

func (c *cell) show(e *event) {
	o, shows := e.output()
	if !shows {
		return
	}
	c.outputs.Add(o)
	if c.onText != nil && o.Type == jupyter.OutputStream {
		c.onText(o.Text)
	}
}

// begin makes the process's cell one that runs. It begins with what background
// threads have shown since the last one.
func (p *pythonProcess) begin(limit int64, onText func(string)) *cell {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := newCell(limit)
	for _, o := range p.cell.outputs.List() {
		c.outputs.Add(o)
	}
	c.id, c.onText = rand.Text(), onText
	p.cell = c
	return c
}

// result is what the cell has shown until now.
func (p *pythonProcess) result(c *cell) *Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &Result{Outputs: fromOutputs(c.outputs.List()), Omitted: c.outputs.Omitted()}
}

// flooded reports whether the cell has shown far more than it may: our own
// interpreter stops at the limit.
func (p *pythonProcess) flooded(c *cell) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.outputs.Omitted() > c.limit
}

// send sends a request. A process that does not take it until ctx ends is
// ended with it, as half a request may be on its way.
func (p *pythonProcess) send(ctx context.Context, doing string, r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	sent := make(chan error, 1)
	go func() {
		// The first newline ends whatever somebody else may have written.
		_, err := p.stdin.Write(slices.Concat([]byte{'\n'}, line, []byte{'\n'}))
		sent <- err
	}()
	select {
	case err := <-sent:
		if err == nil {
			return nil
		}
		p.end(fmt.Errorf("it took no request: %w", err))
	case <-p.over:
	case <-ctx.Done():
		p.end(errors.New("it took no request"))
		return errors.Join(runError(doing, ctx.Err()), p.death(doing))
	}
	return p.death(doing)
}

func (p *pythonProcess) run(ctx context.Context, code string, limit int64, onText func(string)) (*Result, error) {
	const doing = "run code"
	if err := ctx.Err(); err != nil {
		return nil, runError(doing, err)
	}
	c := p.begin(limit, onText)
	if err := p.send(ctx, doing, request{Op: "run", Code: code, ID: c.id, Limit: limit}); err != nil {
		return p.result(c), err
	}
	select {
	case <-c.done:
		result := p.result(c)
		return result, result.Err()
	case <-p.over:
		return p.result(c), p.death(doing)
	case <-ctx.Done():
		err := p.stop(ctx, c)
		return p.result(c), err
	}
}

// stop interrupts code whose context has ended, and kills what does not stop.
func (p *pythonProcess) stop(ctx context.Context, c *cell) error {
	const doing = "run code"
	patience := interruptGrace
	if p.flooded(c) {
		patience = floodGrace
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	failed := make(chan error, 1)
	select {
	case <-c.started:
		go func() { failed <- p.interrupt(grace) }()
	case <-c.done:
		failed <- nil
	case <-p.over:
	case <-grace.Done():
	}
	select {
	case <-c.done:
		select { // or it would interrupt what runs next
		case <-failed: //nolint:errcheck // the run is over, however the interrupt went
		case <-grace.Done():
		}
		return runError(doing, ctx.Err())
	case <-p.over:
	case <-grace.Done():
		err := errors.New("it did not react to an interrupt and was killed")
		select {
		case broken := <-failed:
			if broken != nil {
				err = broken
			}
		default:
		}
		p.end(err)
	}
	return errors.Join(runError(doing, ctx.Err()), p.death(doing))
}

func runError(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &TimeoutError{Op: doing, Err: err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// end ends the process for a reason, and waits. Without its standard input it
// kills itself, and everything in its process group.
func (p *pythonProcess) end(reason error) {
	p.because(reason)
	_ = p.stdin.Close()
	select {
	case <-p.over:
	default:
		p.kill()
		<-p.over
	}
}

func (p *pythonProcess) because(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = err
	}
}

func (p *pythonProcess) death(doing string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		return fmt.Errorf("%s: %w: it exited by itself", doing, ErrKernelDied)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrKernelDied, p.cause)
}
