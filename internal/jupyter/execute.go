package jupyter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ExecuteOptions are the details of one cell. The zero value is an ordinary
// cell.
type ExecuteOptions struct {
	// Silent hides the cell from other clients and from the kernel's history,
	// and does not show the value of its last expression.
	Silent bool
	// NoHistory keeps the cell out of the kernel's history and does not count
	// it.
	NoHistory bool
	// OnOutput is called for each output when it arrives, in the goroutine of
	// Execute. Chunks of streams come as the kernel sends them. Of a flood that
	// is faster than this, some are missing, and an output says so.
	OnOutput func(Output)
	// Outputs takes what the cell shows and keeps the Result's outputs, such as
	// the [Run] of a notebook's cell; nil = the execution's own. Late outputs
	// reach it too.
	Outputs Collector
	// OutputLimit is how many bytes of what the cell shows are kept, the
	// beginning and the end; 0 = [DefaultOutputLimit]. Outputs have their own.
	OutputLimit int64
	// OnLate is called for outputs that arrive after Execute returned, such
	// as those of a thread that the cell started. It must not block. Nil
	// drops them.
	OnLate func(Output)
}

// Collector keeps what a cell shows. One that is shared with others, such as a
// [Run], is safe for concurrent use.
type Collector interface {
	Add(Output) bool
	List() []Output
	Omitted() int64
	Free() int64
}

// Execute runs one cell and waits until it has ended, however long that takes.
// Cells never read input: input() raises StdinNotImplementedError.
//
// The result holds what the cell showed, also when there is an error, unless
// the cell was never sent. An exception is a [*KernelError]. When ctx ends, the
// cell is interrupted, and the error is that of ctx, together with
// [ErrStillRunning] if the cell did not obey. See also [ErrKernelDied],
// [ErrKernelRestarted], [ErrOutputLost] and [ErrConnectionLost].
func (k *Kernel) Execute(ctx context.Context, code string, opts *ExecuteOptions) (*Result, error) {
	if opts == nil {
		opts = &ExecuteOptions{}
	}
	content, err := json.Marshal(executeRequest{
		Code:            code,
		Silent:          opts.Silent,
		StoreHistory:    !opts.Silent && !opts.NoHistory,
		UserExpressions: emptyObject,
	})
	if err != nil {
		return nil, fmt.Errorf("execute cell: %w", err)
	}
	k.mu.Lock()
	generation := k.generation
	k.mu.Unlock()

	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("execute cell: wait for turn: %w", ended(ctx))
	}
	x := &execution{kernel: k, opts: *opts, content: content, box: newMailbox(), status: StatusUnknown}
	if x.outputs = opts.Outputs; x.outputs == nil {
		x.outputs = NewOutputs(cmp.Or(opts.OutputLimit, DefaultOutputLimit))
	}
	x.box.allow(x.outputs.Free())
	if wanted := opts.OutputLimit + opts.OutputLimit/4; wanted > k.messageLimit.Load() {
		k.messageLimit.Store(wanted)
	}
	if err := x.begin(ctx, generation); err != nil {
		<-k.turn
		return nil, fmt.Errorf("execute cell: %w", err)
	}
	err = x.run(ctx)
	result := x.result()
	if errors.Is(err, ErrStillRunning) {
		x.returned = true
		drain := func() { x.drain(context.WithoutCancel(ctx)) }
		if !k.spawn(drain) {
			drain()
		}
	} else {
		x.end()
	}
	var exception *KernelError
	if err != nil && !errors.As(err, &exception) {
		err = fmt.Errorf("execute cell: %w", err)
	}
	return result, err
}

type executeRequest struct {
	Code            string          `json:"code"`
	Silent          bool            `json:"silent"`
	StoreHistory    bool            `json:"store_history"`
	UserExpressions json.RawMessage `json:"user_expressions"`
	AllowStdin      bool            `json:"allow_stdin"`
	// StopOnError would abort cells of other clients that wait.
	StopOnError bool `json:"stop_on_error"`
}

// beginPatience is how long a cell that is interrupted as it begins may take to
// end, before it is interrupted again: IPython swallows the interrupt if it
// comes while it prepares the cell.
const beginPatience = time.Second

// settlePatience is how long one of the two messages that end a cell is waited
// for after the other, before the kernel is asked.
const settlePatience = time.Second

// floodPatience is how long a cell whose context has ended may take to stop if
// it has shown more than anybody keeps, or goes on showing more than floodBytes.
const (
	floodPatience = 500 * time.Millisecond
	floodBytes    = 64 << 10
)

// always is ready.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// execution is a cell that runs. Its fields belong to the goroutine of run or
// drain, except for box and ids.
type execution struct {
	kernel  *Kernel
	opts    ExecuteOptions
	content json.RawMessage
	box     *mailbox

	mu  sync.Mutex
	ids []string // of our requests for this cell

	outputs     Collector
	count       int
	status      Status
	exception   *KernelError // from the reply
	replied     bool
	idle        bool
	started     bool
	cancelled   bool
	interrupted bool
	repeat      <-chan time.Time // when to interrupt once more
	returned    bool             // Execute has returned
	// aborted is set when the kernel threw the latest request away unseen,
	// because a cell of another client failed; aborts counts them.
	aborted bool
	aborts  int
}

// begin waits for a connection and sends the request.
func (x *execution) begin(ctx context.Context, generation int) error {
	k := x.kernel
	for {
		k.mu.Lock()
		if k.err != nil {
			defer k.mu.Unlock()
			return k.err
		}
		if k.generation != generation {
			k.mu.Unlock()
			return ErrKernelRestarted
		}
		l, changed := k.link, k.changed
		if l != nil && !l.quiet() {
			k.running = x
			k.mu.Unlock()
			x.send(l)
			return nil
		}
		k.mu.Unlock()
		// A request sent into a dead connection would be lost.
		if l != nil && l.check() {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for connection: %w", ended(ctx))
		}
	}
}

// send sends the request. Whether a failed write reached the kernel is found
// out by the next connection.
func (x *execution) send(l *link) {
	m := newMessage(channelShell, "execute_request", x.content)
	x.remember(m.header.ID)
	x.kernel.mu.Lock()
	x.kernel.waiters[m.header.ID] = x.box.put
	x.kernel.mu.Unlock()
	if err := l.write(m); err != nil {
		l.conn.CloseNow() //nolint:errcheck // its reader ends either way
	}
}

func (x *execution) remember(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ids = append(x.ids, id)
}

// run handles messages until the cell is over or ctx and then the grace have
// ended.
func (x *execution) run(ctx context.Context) error {
	var settle, grace, flood <-chan time.Time
	var late int // bytes that came after ctx had ended
	done := ctx.Done()
	for {
		messages, omitted, err := x.box.take()
		if omitted > 0 {
			x.show(Omission(omitted))
		}
		for _, m := range messages {
			x.handle(m)
			if grace != nil {
				late += m.size()
			}
		}
		x.box.allow(x.outputs.Free())
		wake := (<-chan struct{})(x.box.wake)
		switch {
		case x.replied && x.idle:
			if x.again() {
				continue
			}
			return x.outcome(ctx, nil)
		case len(messages) > 0:
			if (x.replied || x.idle) && settle == nil {
				settle = time.After(settlePatience)
			}
			wake = always // there may be more, but the context counts first
			select {
			case <-grace:
				return errors.Join(ended(ctx), ErrStillRunning)
			default:
			}
		case err != nil:
			return x.outcome(ctx, err)
		}
		select {
		case <-wake:
		case <-settle:
			x.kernel.barrier(x)
		case <-done:
			done = nil
			patience := x.kernel.server.config.InterruptGrace
			grace, flood = time.After(patience), time.After(floodPatience)
			if x.started {
				x.repeat = time.After(patience / 2)
			}
			x.cancelled = true
			x.interrupt()
		case <-x.repeat:
			x.interrupted = false
			x.interrupt()
		case <-flood:
			if x.outputs.Omitted() > 0 || late > floodBytes {
				return errors.Join(ended(ctx), ErrStillRunning)
			}
		case <-grace:
			return errors.Join(ended(ctx), ErrStillRunning)
		}
	}
}

// again sends the cell once more if the kernel threw it away unseen.
func (x *execution) again() bool {
	const enough = 10
	k := x.kernel
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	if !x.aborted || x.cancelled || l == nil || x.aborts == enough {
		return false
	}
	x.aborts++
	x.aborted, x.replied, x.idle = false, false, false
	x.send(l)
	return true
}

// drain waits for the end of a cell that Execute gave up, so that the next one
// begins after it.
func (x *execution) drain(ctx context.Context) {
	err := x.run(ctx)
	x.kernel.server.log.InfoContext(ctx, "interrupted cell ended", "kernel", x.kernel.ID(), "error", err)
	x.end()
}

// begun notes that the kernel has begun with the cell, and interrupts it if it
// was cancelled before.
func (x *execution) begun() {
	x.started = true
	if x.cancelled && x.repeat == nil {
		x.repeat = time.After(beginPatience)
	}
	x.interrupt()
}

// interrupt interrupts the cell, once, if it was asked to and the kernel has
// begun with it. Before that the kernel may be busy with somebody else's.
func (x *execution) interrupt() {
	if !x.cancelled || !x.started || x.interrupted {
		return
	}
	x.interrupted = true
	k := x.kernel
	k.spawn(func() {
		const patience = 10 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := k.Interrupt(ctx); err != nil {
			k.server.log.WarnContext(ctx, "interrupt cell", "kernel", k.ID(), "error", err)
		}
	})
}

// outcome is the error of a cell that is over; cut is why its end was not
// seen, if it was not.
func (x *execution) outcome(ctx context.Context, cut error) error {
	if errors.Is(cut, ErrOutputLost) && x.replied {
		x.box.markIncomplete()
		cut = nil
	}
	switch {
	case x.cancelled && (cut == nil || errors.Is(cut, ErrOutputLost)):
		return ended(ctx)
	case cut != nil:
		x.status = StatusUnknown
		return cut
	case x.status == StatusError:
		return x.kernelError()
	}
	return nil
}

// kernelError prefers the error among the outputs, whose traceback is the one
// that was shown.
func (x *execution) kernelError() *KernelError {
	shown := Result{Outputs: x.outputs.List()}
	if err := shown.Err(); err != nil {
		return err
	}
	return x.exception
}

func (x *execution) result() *Result {
	return &Result{
		Outputs:        x.outputs.List(),
		ExecutionCount: x.count,
		Status:         x.status,
		Incomplete:     x.box.isIncomplete(),
		Omitted:        x.outputs.Omitted(),
	}
}

// end frees the kernel for the next cell and keeps listening for late outputs.
func (x *execution) end() {
	k := x.kernel
	x.mu.Lock()
	ids := x.ids
	x.mu.Unlock()
	k.forget(ids...)
	k.mu.Lock()
	k.running = nil
	if x.opts.OnLate != nil && len(ids) > 0 {
		k.waiters[ids[0]] = x.lateOutput
		k.late = append(k.late, ids[0])
		if len(k.late) > lateCells {
			delete(k.waiters, k.late[0])
			k.late = k.late[1:]
		}
	}
	k.mu.Unlock()
	<-k.turn
}

func (x *execution) lateOutput(m *message) {
	if o, err := decodeOutput(m.header.Type, m.content); err == nil {
		if x.opts.Outputs != nil {
			x.opts.Outputs.Add(o)
		}
		x.opts.OnLate(o)
	}
}
