package modalclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/metadata"
)

// maxArguments is what Linux takes of arguments and environment at most, in
// bytes, whatever its limits are set to.
const maxArguments = 6 << 20

const pointerSize = 8 // which each of them counts as well

const (
	killBound = 15 * time.Second // or three answers, if that is less
	killTries = 3
	goneSoon  = 500 * time.Millisecond // for the server to see that a command was killed
	// A start under way when its caller gives up may take this much longer.
	startGrace = 5 * time.Second
	// The server ends a command this long after us, in case we are no more.
	serverGrace = 2 * time.Second

	sigKill = 9
)

// ExecSpec describes a command.
type ExecSpec struct {
	Args []string
	// Env comes on top of the sandbox's. Names are those of shell variables
	// ([A-Za-z_][A-Za-z0-9_]*). It travels over stdin, so that no value shows in an argv.
	Env map[string]string
	// Dir is the working directory; "" = the sandbox's.
	Dir string
	// Stdin gives the command a pipe, which Process.Stdin must close. Without
	// it the command reads /dev/null.
	Stdin bool
	// Timeout ends the command; 0 = none.
	Timeout time.Duration
	// PTY runs the command in a terminal: its output is all in Stdout, and Stdin is a pipe to it.
	PTY bool
	// Own gives the command an environment that no setting of the sandbox reaches.
	Own bool
	// DiscardStdout and DiscardStderr throw output away where it arises.
	DiscardStdout, DiscardStderr bool

	short bool // ends by itself very soon, so that nothing needs to kill it
}

// Process is a command that runs in a sandbox. Its output is kept by the
// server until it is read. Wait must be called, and streams read to their end.
type Process struct {
	// Stdin is nil unless the spec asked for it or for a PTY. Writing to a
	// command that does not read any more is ErrProcessDone.
	Stdin io.WriteCloser
	// Stdout and Stderr are never nil. They end when every process that holds
	// them has closed them, or with an error when the command is cut off.
	Stdout, Stderr io.Reader

	sandbox *Sandbox
	task    *task
	input   *input    // Stdin; nil without
	outputs []*output // those that are not discarded
	id      string
	marker  string // in the environment of the command and what it starts
	short   bool   // as in the spec

	life    context.Context // ends when the command is cut off, or all is done
	closed  atomic.Bool     // by CloseOutput
	cancel  context.CancelCauseFunc
	caller  context.Context // as given to Exec
	unwatch func() bool     // of caller
	timer   *time.Timer     // nil without a Timeout

	open    atomic.Int32 // streams not read to their end, and Wait
	cutting sync.Once
	cut     chan struct{} // closed when the command is cut off and killed
	killed  atomic.Bool
	result  atomic.Pointer[ending] // once known
	words   atomic.Pointer[string] // of the server, about the last call that failed and has not succeeded since
}

// ending is how a command ended.
type ending struct {
	code, signal int
	err          error
}

// Exec starts a command. When ctx ends or the spec's Timeout is over, the
// command is killed with everything that it started, and Wait and reads return
// the cause (a *TimeoutError for the Timeout); what was read until then counts.
// A program that does not exist exits with 127, as a shell has it.
//
// A command costs the RPCs that modal-go's Exec does, and one more if there is an Env.
func (s *Sandbox) Exec(ctx context.Context, spec ExecSpec) (*Process, error) {
	const op = "exec"
	if err := spec.validate(); err != nil {
		return nil, err
	}
	t, err := s.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	p := &Process{
		sandbox: s, task: t,
		id: uuid.NewString(), marker: rand.Text(), short: spec.short,
		cut: make(chan struct{}),
	}
	launch, err := p.prepare(ctx, spec)
	if err != nil {
		return nil, err
	}
	p.life, p.cancel = context.WithCancelCause(s.life)
	if err := p.start(ctx, spec, launch.args); err != nil {
		p.cancel(err)
		return nil, err
	}
	p.streams(spec)
	p.watch(ctx, spec)
	if ctx.Err() != nil {
		p.abort(context.Cause(ctx))
		return nil, fmt.Errorf("%s: %w", op, context.Cause(ctx))
	}
	if len(launch.header) > 0 {
		if err := p.sendHeader(launch.header, spec); err != nil {
			p.abort(err)
			return nil, err
		}
	}
	return p, nil
}

func (spec ExecSpec) validate() error {
	invalid := func(format string, args ...any) error {
		return &Error{Op: "exec", Kind: ErrInvalid, Message: fmt.Sprintf(format, args...)}
	}
	if len(spec.Args) == 0 || spec.Args[0] == "" {
		return invalid("no command")
	}
	total := 0
	for i, arg := range spec.Args {
		total += len(arg) + 1 + pointerSize
		if strings.ContainsRune(arg, 0) {
			return invalid("argument %d has a NUL byte", i)
		}
		if len(arg) >= maxArgument {
			return invalid("argument %d has %d bytes; Linux takes at most %d: pass it over stdin or a file", i, len(arg), maxArgument-1)
		}
	}
	if total > maxArguments {
		return fmt.Errorf("exec %s: %d bytes of arguments: %w", spec.Args[0], total, syscall.E2BIG)
	}
	if !utf8.ValidString(spec.Dir) {
		return invalid("working directory %q is not UTF-8", spec.Dir)
	}
	for name, value := range spec.Env {
		if !variableName.MatchString(name) {
			return invalid("%q is not the name of a variable", name)
		}
		if strings.ContainsRune(value, 0) {
			return invalid("variable %s has a NUL byte", name)
		}
	}
	return nil
}

func (p *Process) start(ctx context.Context, spec ExecSpec, args []string) error {
	request := pb.TaskExecStartRequest_builder{
		TaskId:       p.task.id,
		ExecId:       p.id,
		CommandArgs:  args,
		StdoutConfig: pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_PIPE,
		StderrConfig: pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_PIPE,
	}
	if spec.DiscardStdout {
		request.StdoutConfig = pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_DEVNULL
	}
	if spec.DiscardStderr {
		request.StderrConfig = pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_DEVNULL
	}
	if spec.Dir != "" {
		request.Workdir = &spec.Dir
	}
	if spec.Timeout > 0 {
		seconds := uint32(wholeSeconds(spec.Timeout+serverGrace) / time.Second)
		request.TimeoutSecs = &seconds
	}
	if spec.PTY {
		request.PtyInfo = pb.PTYInfo_builder{
			Enabled:                true,
			WinszRows:              24,
			WinszCols:              80,
			EnvTerm:                "xterm-256color",
			EnvColorterm:           "truecolor",
			PtyType:                pb.PTYInfo_PTY_TYPE_SHELL,
			NoTerminateOnIdleStdin: true,
		}.Build()
	}
	message := request.Build()
	// The way to the router is found here, where nothing can have been started
	// yet, or, if that fails, at the first attempt.
	_, _, err := p.task.access(ctx, "")
	if ctx.Err() != nil {
		return fmt.Errorf("exec: %w", withWords(context.Cause(ctx), err))
	}
	// A start that was cut off might happen all the same, when nobody is left
	// to kill what it started: so it gets a little longer than its caller.
	graceCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(startGrace, func() { cancel(context.Cause(ctx)) })
	})()
	err = p.attempt("exec").do(graceCtx, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
		_, err := router.TaskExecStart(ctx, message)
		return err
	})
	if graceCtx.Err() != nil && !p.short {
		err = errors.Join(err, p.killBounded())
	}
	return err
}

// watch ends the command with the caller's context or its own timeout.
func (p *Process) watch(ctx context.Context, spec ExecSpec) {
	if spec.Timeout > 0 {
		p.timer = time.AfterFunc(spec.Timeout, func() {
			p.abort(&TimeoutError{After: spec.Timeout})
		})
	}
	p.caller = ctx
	p.unwatch = context.AfterFunc(ctx, func() { p.abort(context.Cause(ctx)) })
}

// abort cuts the command off and kills it, once; later calls wait for the first.
func (p *Process) abort(cause error) {
	p.cutting.Do(func() {
		defer close(p.cut)
		p.cancel(cause)
		if p.short || !p.sandbox.begin() {
			return
		}
		defer p.sandbox.done()
		if p.result.Load() != nil { // it has ended itself, but somebody waits for the output of what it left
			if !p.closed.Load() {
				p.gone(p.sandbox.life)
			}
			return
		}
		if err := p.killBounded(); err != nil {
			p.sandbox.client.log.Warn("command may still run", "sandbox", p.sandbox.id, "error", err)
		}
	})
	<-p.cut
}

// release lets go of the caller's context and the timer when the last user is done.
func (p *Process) release() {
	if p.open.Add(-1) > 0 {
		return
	}
	p.unwatch()
	p.cancel(nil)
}

// Wait waits for the command to end and returns its exit code or the signal
// that ended it (0 if none). A sandbox that ended under it is an
// ErrTerminated or ErrSandboxLost, never an exit code. An end of Wait's own
// ctx leaves the command alone.
func (p *Process) Wait(ctx context.Context) (code, signal int, err error) {
	if result := p.result.Load(); result != nil {
		return result.code, result.signal, result.err
	}
	response, err := p.wait(ctx)
	if err != nil {
		if p.caller.Err() != nil || p.life.Err() != nil {
			return 0, 0, withWords(p.settle(), err)
		}
		return 0, 0, err
	}
	result := &ending{code: int(response.GetCode()), signal: int(response.GetSignal())}
	if (result.signal != 0 || result.code == 128+sigKill) && !p.killed.Load() {
		// By its own doing, or because the sandbox ended?
		checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		if ended := p.sandbox.check(checkCtx, endPatience); errors.Is(ended, ErrTerminated) {
			result = &ending{err: fmt.Errorf("wait for command: %w", ended)}
		}
	}
	if p.result.CompareAndSwap(nil, result) {
		if p.timer != nil {
			p.timer.Stop()
		}
		p.release()
	}
	return result.code, result.signal, result.err
}

func (p *Process) wait(ctx context.Context) (*pb.TaskExecWaitResponse, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.life, func() { cancel(context.Cause(p.life)) })()

	message := pb.TaskExecWaitRequest_builder{TaskId: p.task.id, ExecId: p.id}.Build()
	attempt := p.attempt("wait for command")
	for {
		var response *pb.TaskExecWaitResponse
		err := attempt.do(ctx, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
			pollCtx, cancel := context.WithTimeout(ctx, p.sandbox.client.patience.Poll)
			defer cancel()
			answer, err := router.TaskExecWait(pollCtx, message)
			if err != nil && pollCtx.Err() != nil && ctx.Err() == nil {
				return nil // it still runs
			}
			response = answer
			return err
		})
		if err != nil || response != nil {
			return response, err
		}
		attempt.progress()
	}
}

// Silence is how long nothing has been there to read of either stream, as far
// as the server can be asked and the readers wait.
func (p *Process) Silence() time.Duration {
	silence := time.Duration(math.MaxInt64)
	for _, o := range p.outputs {
		silence = min(silence, o.silence())
	}
	return silence
}

// CloseOutput ends both streams for their readers, as if the command had
// closed them: what it left running may hold them open for ever. It is for use after Wait.
func (p *Process) CloseOutput() {
	p.closed.Store(true)
	p.cancel(io.EOF)
}

// settle waits for the kill that follows a cut, and returns the cause of the cut.
func (p *Process) settle() error {
	select {
	case <-p.cut:
	case <-p.sandbox.life.Done():
	}
	cause := context.Cause(p.life)
	if words := p.words.Load(); words != nil && *words != "" {
		cause = &waitedError{cause: cause, words: *words}
	}
	return fmt.Errorf("wait for command: %w", cause)
}

// Kill ends the command and everything that it started, and returns when none
// of it is left. One that has ended is no error.
func (p *Process) Kill(ctx context.Context) error {
	if p.sandbox.ended() != nil || p.result.Load() != nil {
		return nil
	}
	p.killed.Store(true)
	return p.kill(ctx)
}

func (p *Process) killBounded() error {
	ctx, cancel := context.WithTimeout(p.sandbox.life, min(killBound, silentTries*p.sandbox.client.patience.Answer))
	defer cancel()
	return p.kill(ctx)
}

// kill ends the command and asks the server whether it did: a process that is
// just becoming another program has no mark for a moment.
func (p *Process) kill(ctx context.Context) error {
	for try := 1; ; try++ {
		err := p.sandbox.kill(ctx, p.marker)
		// A local server does it also where programs inside cannot.
		if gone := p.gone(ctx); err != nil || gone || try == killTries {
			return err
		}
	}
}

// killHeader asks a local server to kill what the command left as well: what
// has shed its mark, parents, session and user. Modal has no such call.
const killHeader = "seer-kill-exec"

// gone reports whether the server has seen the command end, or knows of none.
func (p *Process) gone(ctx context.Context) bool {
	soon, cancel := context.WithTimeout(ctx, goneSoon)
	defer cancel()
	message := pb.TaskExecWaitRequest_builder{TaskId: p.task.id, ExecId: p.id}.Build()
	err := p.attempt("kill command").do(soon, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
		if p.sandbox.client.local {
			ctx = metadata.AppendToOutgoingContext(ctx, killHeader, "yes")
		}
		_, err := router.TaskExecWait(ctx, message)
		return err
	})
	return err == nil || soon.Err() == nil
}

func (p *Process) attempt(op string) *attempts {
	a := p.sandbox.attempts(p.task, op)
	a.hear = func(words string) { p.words.Store(&words) }
	return a
}

func (p *Process) streams(spec ExecSpec) {
	p.Stdout, p.Stderr = strings.NewReader(""), strings.NewReader("")
	p.open.Store(1)
	if !spec.DiscardStdout {
		p.Stdout = p.output(pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT)
	}
	if !spec.DiscardStderr {
		p.Stderr = p.output(pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR)
	}
	if spec.Stdin || spec.PTY {
		p.input = &input{process: p}
		p.Stdin = p.input
	}
}

func (p *Process) output(fd pb.TaskExecStdioFileDescriptor) *output {
	o := &output{process: p, fd: fd}
	p.open.Add(1)
	p.outputs = append(p.outputs, o)
	return o
}

func (p *Process) sendHeader(header []byte, spec ExecSpec) error {
	in := p.input
	if in == nil {
		in = &input{process: p}
	}
	err := in.send(header, !spec.Stdin)
	if errors.Is(err, ErrProcessDone) {
		return nil // it has ended already; Wait says how
	}
	return err
}
