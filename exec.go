package seer

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// Scripts that the sandbox's own interpreters get as constants; what users
// pass travels beside them, as an argument or on standard input.
const (
	shellFromStdin  = `eval "$(cat)"`
	pythonFromStdin = `import sys; exec(compile(sys.stdin.buffer.read(), "<string>", "exec"))`

	// maxInlineScript is what still fits well below the kernel's limit of
	// 128 KiB for one argument and Modal's of 64 KiB for all of them.
	maxInlineScript = 32 << 10

	// tailSize bounds the output that an ExitError keeps.
	tailSize = 32 << 10

	// A shell exits so, and says so, where the kernel refuses the arguments.
	notExecutable = 126
	tooLongWords  = "Argument list too long"

	// quietAfterExit is how long output may stay silent once a command has
	// ended before its streams count as finished: a background process that
	// it left may hold them open for ever.
	quietAfterExit = 2 * time.Second
)

// Exec runs a shell command with bash and returns its standard output, which
// [WithOutputLimit] bounds. A
// command that ends with anything but 0 gives an *[ExitError], which holds the
// code and the end of both outputs. When ctx ends, every process that the
// command started is killed. Commands of any length work. It reads an empty
// standard input and starts in the sandbox's working directory: the image's,
// which is / unless a Dockerfile says otherwise. Relative paths of [Sandbox.ReadFile]
// and its like start there too; sessions and `seer sh` start in /workspace.
func (s *Sandbox) Exec(ctx context.Context, command string) (string, error) {
	out, err := s.bash(command).Output(ctx)
	return string(out), err
}

// ExecPython runs Python code with the sandbox's python, in a process of its
// own, and returns what it printed. Otherwise it is like [Sandbox.Exec].
func (s *Sandbox) ExecPython(ctx context.Context, code string) (string, error) {
	out, err := s.script("python", pythonFromStdin, code).Output(ctx)
	return string(out), err
}

// bash prepares a shell command of any length.
func (s *Sandbox) bash(command string) *Cmd { return s.script("bash", shellFromStdin, command) }

func (s *Sandbox) script(interpreter, fromStdin, text string) *Cmd {
	if len(text) <= maxInlineScript || strings.ContainsRune(text, 0) { // an argument with a NUL byte is refused
		return s.Command(interpreter, "-c", text)
	}
	cmd := s.Command(interpreter, "-c", fromStdin)
	cmd.Stdin = strings.NewReader(text)
	return cmd
}

// Command prepares a program with arguments, as [os/exec.Command] does. No
// shell sees them.
func (s *Sandbox) Command(name string, args ...string) *Cmd {
	return &Cmd{Args: append([]string{name}, args...), sandbox: s}
}

// Cmd is a command of a sandbox, in the manner of [os/exec.Cmd]. Set its
// fields, then call Run, Output, CombinedOutput or Start once. A Cmd is for
// one goroutine, but Kill may be called from any.
type Cmd struct {
	Args []string // the program, looked up in PATH, and its arguments
	Dir  string   // working directory; "" = the sandbox's, as Sandbox.Exec says
	Env  []string // "NAME=value" on top of the sandbox's environment; travels on standard input, never as an argument

	Stdin  io.Reader // nil = empty
	Stdout io.Writer // nil = discarded; written while the command runs
	Stderr io.Writer // nil = discarded, but for the tail in ExitError; the same Writer as Stdout is written by one goroutine at a time
	PTY    bool      // give the command a terminal of 24 x 80; all its output is Stdout

	// OutputLimit is how many bytes Output and CombinedOutput collect. More is
	// an error that matches [ErrOutputLimit], and the command is killed; Stdout
	// takes any amount. 0 = what [WithOutputLimit] says.
	OutputLimit int64

	own     bool // it is one of ours, with an environment of its own
	sandbox *Sandbox
	remote  *modalclient.Sandbox // nil = the sandbox's, once it runs
	process *modalclient.Process
	ctx     context.Context //nolint:containedctx // Wait has none of its own; it belongs to the run that Start began
	copies  sync.WaitGroup
	stdout  tail
	stderr  tail

	copyMu  sync.Mutex
	copyErr error
}

// Run starts the command and waits for it.
func (c *Cmd) Run(ctx context.Context) error {
	if err := c.Start(ctx); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output, also when it fails;
// OutputLimit bounds it.
func (c *Cmd) Output(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("run command: Stdout already set")
	}
	return c.collect(ctx, func(out io.Writer) { c.Stdout = out })
}

// CombinedOutput runs the command and returns both of its outputs, interleaved
// as they arrived: each is in order, but they travel side by side. OutputLimit
// bounds them together.
func (c *Cmd) CombinedOutput(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("run command: Stdout or Stderr already set")
	}
	return c.collect(ctx, func(out io.Writer) { c.Stdout, c.Stderr = out, out })
}

// collect runs the command and keeps what it writes, up to the limit.
func (c *Cmd) collect(ctx context.Context, connect func(io.Writer)) ([]byte, error) {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	limit := cmp.Or(c.OutputLimit, defaultOutputLimit)
	if c.OutputLimit == 0 && c.sandbox != nil {
		limit = cmp.Or(c.sandbox.opts.outputLimit, limit)
	}
	out := modalclient.NewBuffer(limit, cut)
	connect(out)
	err := c.Run(ctx)
	return out.Bytes(), err
}

// Start starts the command and returns once it runs. When ctx ends, the
// command and every process it started are killed. Every Start needs a Wait.
func (c *Cmd) Start(ctx context.Context) error {
	if c.process != nil {
		return errors.New("start command: already started")
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return errors.New("start command: no program given")
	}
	env, err := environ(c.Env)
	if err != nil {
		return err
	}
	remote := c.remote
	if remote == nil {
		if remote, err = c.sandbox.running(); err != nil {
			return err
		}
	}
	process, err := remote.Exec(ctx, modalclient.ExecSpec{
		Args:  c.Args,
		Env:   env,
		Dir:   c.Dir,
		Stdin: c.Stdin != nil,
		PTY:   c.PTY,
		Own:   c.own,
	})
	if err != nil {
		return c.sandbox.callError("start "+c.Args[0], err)
	}
	c.process, c.ctx = process, ctx
	c.copyStreams()
	return nil
}

func (c *Cmd) copyStreams() {
	if c.Stdin != nil {
		// Not waited for, as a terminal may block for ever in Read; it ends
		// with the next read or write after the process has.
		go func() {
			_, err := io.Copy(c.process.Stdin, c.Stdin)
			closeErr := c.process.Stdin.Close()
			if err != nil && !errors.Is(err, modalclient.ErrProcessDone) {
				c.fail(err)
			} else if closeErr != nil && !errors.Is(closeErr, modalclient.ErrProcessDone) {
				c.fail(closeErr)
			}
		}()
	}
	stdout, stderr := c.Stdout, c.Stderr
	if stdout != nil && sameWriter(stdout, stderr) {
		shared := &lockedWriter{w: stdout}
		stdout, stderr = shared, shared
	}
	c.copies.Go(func() { c.copyOut(stdout, &c.stdout, c.process.Stdout) })
	c.copies.Go(func() { c.copyOut(stderr, &c.stderr, c.process.Stderr) })
}

func (c *Cmd) copyOut(to io.Writer, keep *tail, from io.Reader) {
	writer := io.Writer(keep)
	if to != nil {
		writer = io.MultiWriter(keep, to)
	}
	if _, err := io.Copy(writer, from); err != nil {
		c.fail(err)
	}
}

func (c *Cmd) fail(err error) {
	c.copyMu.Lock()
	defer c.copyMu.Unlock()
	if c.copyErr == nil {
		c.copyErr = err
	}
}

// Wait waits for the command's end and for its output. A command that ended
// with anything but 0 gives an *[ExitError]; one that ctx ended gives ctx's
// error, and a *[TimeoutError] when that was a deadline. Output that a
// background process still holds open is waited for until it has been silent
// for two seconds.
func (c *Cmd) Wait() error {
	if c.process == nil {
		return errors.New("wait for command: not started")
	}
	code, signal, err := c.process.Wait(c.ctx)
	c.finishOutput()
	if err != nil {
		return c.sandbox.callError("run "+c.Args[0], err)
	}
	c.copyMu.Lock()
	copyErr := c.copyErr
	c.copyMu.Unlock()
	if signal != 0 {
		code = 128 + signal
	}
	switch {
	case code == notExecutable && strings.Contains(c.stderr.text(), tooLongWords):
		return c.sandbox.callError("start "+c.Args[0], syscall.E2BIG)
	case code != 0:
		return &ExitError{Command: c.Args[0], Code: code, Signal: signal, Stdout: c.stdout.text(), Stderr: c.stderr.text()}
	case copyErr != nil:
		return c.sandbox.callError("run "+c.Args[0], copyErr)
	}
	return nil
}

// finishOutput waits until both streams have ended or have gone quiet.
func (c *Cmd) finishOutput() {
	ended := make(chan struct{})
	go func() {
		c.copies.Wait()
		close(ended)
	}()
	exited := time.Now()
	for {
		left := quietAfterExit - min(c.process.Silence(), time.Since(exited))
		if left <= 0 {
			c.process.CloseOutput()
			<-ended
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-ended:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Kill kills the command and every process it started. Wait then returns.
func (c *Cmd) Kill() error {
	if c.process == nil {
		return errors.New("kill command: not started")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), 30*time.Second)
	defer cancel()
	return c.sandbox.callError("kill "+c.Args[0], c.process.Kill(ctx))
}
