package seer

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
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

// interruptGrace is how long interrupted code may take to stop before its
// interpreter is killed.
const interruptGrace = 5 * time.Second

// interpreter is a Python process whose variables stay from call to call. It
// runs one piece of code at a time.
type interpreter struct {
	launch func(ctx context.Context) (*pythonProcess, error)
	limit  time.Duration // for each run; 0 = none

	libraries string // where packages are imported from; "" = it knows by itself

	turn chan struct{} // holds one token: who has it may run code

	mu      sync.Mutex
	process *pythonProcess
	environ map[string]string // what libraries need
	inits   []string          // code that every new process runs first; "" = none
	closed  bool
}

func newInterpreter(launch func(context.Context) (*pythonProcess, error), limit time.Duration) *interpreter {
	i := &interpreter{launch: launch, limit: limit, turn: make(chan struct{}, 1), environ: map[string]string{}}
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
	if err := p.send(request{Op: "environ", Values: environ, Libraries: i.libraries}); err != nil {
		return p.death("set environment")
	}
	for _, code := range inits {
		if code == "" {
			continue
		}
		if _, err := p.run(ctx, code, nil); err != nil {
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
		return p.run(ctx, code, onText)
	}
	limited, cancel := context.WithTimeout(ctx, i.limit)
	defer cancel()
	result, err := p.run(limited, code, onText)
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

// request is what the Python side is asked to do.
type request struct {
	Op     string            `json:"op"`
	Values map[string]string `json:"values,omitempty"`
	// Libraries is where packages lie that may have come since Python started.
	Libraries string `json:"libraries,omitempty"`
	Code      string `json:"code"`
}

// event is what the Python side tells.
type event struct {
	Event     string     `json:"event"`
	PID       int        `json:"pid"`
	Name      string     `json:"name"`
	Text      string     `json:"text"`
	Data      MIMEBundle `json:"data"`
	Value     string     `json:"value"`
	Traceback string     `json:"traceback"`
}

// pythonProcess is one life of an interpreter.
type pythonProcess struct {
	stdin     io.WriteCloser
	interrupt func(ctx context.Context) error
	kill      func()        // ends it and what it started
	over      chan struct{} // closed when it has ended and everything it said was read
	pid       int           // in the place where it runs

	mu    sync.Mutex
	cause error // why it ended
	cell  *cell // what runs, or what will get the output of background threads
	busy  bool
}

// awaitPython reads the first event and keeps reading in the background. Wait
// returns when the process has ended, and leaves nothing of it behind.
func awaitPython(ctx context.Context, p *pythonProcess, stdout io.ReadCloser, wait func() error) error {
	p.over, p.cell = make(chan struct{}), newCell()
	ready := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(stdout, ready)
	}()
	go func() {
		err := wait()
		<-read
		_ = stdout.Close()
		p.because(err)
		close(p.over)
	}()
	select {
	case <-ready:
		return nil
	case <-p.over:
		return p.death("wait until it is ready")
	case <-ctx.Done():
		p.end(ctx.Err())
		return runError("wait until it is ready", ctx.Err())
	}
}

func (p *pythonProcess) read(stdout io.Reader, ready chan<- struct{}) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			continue // a program that meddles with our descriptors
		}
		if e.Event == "ready" {
			p.pid = e.PID
			close(ready)
			continue
		}
		p.deliver(e)
	}
}

func (p *pythonProcess) deliver(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Event == "started":
		close(p.cell.started)
	case e.Event == "done":
		close(p.cell.done)
		p.cell, p.busy = newCell(), false
	case p.busy || p.cell.size < maxIdleOutput:
		p.cell.add(e)
	}
}

// maxIdleOutput bounds what background threads may print between two pieces of
// code, in bytes: the rest is dropped.
const maxIdleOutput = 1 << 20

func (p *pythonProcess) send(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(line, '\n'))
	return err
}

func (p *pythonProcess) run(ctx context.Context, code string, onText func(string)) (*Result, error) {
	const doing = "run code"
	if err := ctx.Err(); err != nil {
		return nil, runError(doing, err)
	}
	p.mu.Lock()
	c := p.cell
	c.onText, p.busy = onText, true
	p.mu.Unlock()
	if err := p.send(request{Op: "run", Code: code}); err != nil {
		<-p.over
		return c.result(), p.death(doing)
	}
	select {
	case <-c.done:
		result := c.result()
		return result, result.Err()
	case <-p.over:
		return c.result(), p.death(doing)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptGrace)
	defer cancel()
	var err error
	select {
	case <-c.started:
		err = p.interrupt(grace)
	case <-c.done:
	case <-p.over:
	case <-grace.Done():
	}
	select {
	case <-c.done:
		return c.result(), runError(doing, ctx.Err())
	case <-p.over:
		return c.result(), errors.Join(runError(doing, ctx.Err()), p.death(doing))
	case <-grace.Done():
		if err == nil {
			err = errors.New("it did not react to an interrupt and was killed")
		}
		p.end(err)
		return c.result(), errors.Join(runError(doing, ctx.Err()), p.death(doing))
	}
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

// cell collects what a piece of code shows. All but its channels is guarded by
// the process.
type cell struct {
	started chan struct{} // closed when an interrupt would reach it
	done    chan struct{}
	onText  func(string)
	outputs []Output
	stream  strings.Builder // the text of the last output, while that is a stream
	size    int
}

func newCell() *cell { return &cell{started: make(chan struct{}), done: make(chan struct{})} }

func (c *cell) add(e event) {
	c.size += len(e.Text)
	if e.Event == "stream" {
		if last := len(c.outputs) - 1; last < 0 || c.outputs[last].Type != OutputStream || c.outputs[last].Name != e.Name {
			c.finishStream()
			c.outputs = append(c.outputs, Output{Type: OutputStream, Name: e.Name})
		}
		c.stream.WriteString(e.Text)
		if c.onText != nil {
			c.onText(e.Text)
		}
		return
	}
	c.finishStream()
	switch e.Event {
	case "result":
		c.outputs = append(c.outputs, Output{Type: OutputResult, Data: e.Data})
	case "display":
		c.outputs = append(c.outputs, Output{Type: OutputDisplay, Data: e.Data})
	case "error":
		c.outputs = append(c.outputs, Output{Type: OutputError, Err: &KernelError{Name: e.Name, Value: e.Value, Traceback: e.Traceback}})
	}
}

func (c *cell) finishStream() {
	if last := len(c.outputs) - 1; last >= 0 && c.outputs[last].Type == OutputStream {
		c.outputs[last].Text += c.stream.String()
		c.stream.Reset()
	}
}

// result is called when nothing is added any more.
func (c *cell) result() *Result {
	c.finishStream()
	return &Result{Outputs: c.outputs}
}
