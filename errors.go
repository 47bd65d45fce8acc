package seer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// Errors to match with [errors.Is].
var (
	// ErrNotStarted is returned by what needs a running sandbox before Start succeeded.
	ErrNotStarted = errors.New("sandbox is not started")
	// ErrTerminated is returned by what needs a running sandbox after it has
	// ended. The error that wraps it says why it ended.
	ErrTerminated = errors.New("sandbox has ended")
	// ErrSandboxLost means that the sandbox died, or cannot be reached any
	// more: nobody ended it, and no limit did. How a command that it
	// interrupted would have ended is unknown. An error that tells of its
	// death matches ErrTerminated too.
	ErrSandboxLost = errors.New("sandbox was lost")
	// ErrNoGPU means that the backend has no GPU to give.
	ErrNoGPU = errors.New("no GPU here: configure Modal credentials to run on Modal, or leave GPU empty to run on this machine's CPU")
	// ErrUnauthorized means that the backend refused the credentials.
	ErrUnauthorized = errors.New("credentials refused: check MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run \"modal token new\" for a fresh pair")
	// ErrNoBackend means that nothing says where sandboxes should run.
	ErrNoBackend = errors.New("no backend: " +
		"set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (or run \"modal token new\") to run on Modal; " +
		"or import _ \"github.com/ajobi-uhc/seer-go/local\" to run on this Linux machine; " +
		"or name one with SEER_BACKEND=modal or SEER_BACKEND=local")
	// ErrGatedModel means that a model's owner has to grant access first.
	ErrGatedModel = errors.New("model is gated")
	// ErrHubUnreachable means that the hub of models cannot be asked, and that a
	// model which Start needs is not cached.
	ErrHubUnreachable = errors.New("model hub cannot be reached")
	// ErrNotFound means that a sandbox, snapshot, model or other named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrOutputLimit means that a sandbox sent more than a call collects.
	ErrOutputLimit = modalclient.ErrOutputLimit
	// ErrKernelDied means that the interpreter or notebook kernel of a session
	// has ended, and its variables with it. The session's Restart gives a new one.
	ErrKernelDied = errors.New("python interpreter died")
)

// ConfigError lists every problem of a config at once.
type ConfigError struct {
	File     string // where the config was loaded from; "" = from nowhere
	Problems []Problem
}

// Problem is one thing that is wrong with a config.
type Problem struct {
	Field   string // path of the field, such as "Repos[1].URL"; of the key, such as "repos[1].url", in a file
	Value   string // what stands there, quoted where it is text; "" where showing it helps nobody or gives away a secret
	Message string // what would be right
	Line    int    // line in File; 0 = unknown

	err error // what it matches; nil = nothing but *ConfigError
}

// String is the problem in one line, without the file.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Field)
	if p.Value != "" {
		if p.Field != "" {
			b.WriteString(" = ")
		}
		b.WriteString(p.Value)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

func (e *ConfigError) Error() string {
	if len(e.Problems) == 1 {
		p := e.Problems[0]
		return "invalid config: " + e.place(p) + p.String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "invalid config, %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  - " + e.place(p) + p.String())
	}
	return b.String()
}

// Unwrap returns what problems match beside *ConfigError, such as [ErrNoGPU].
func (e *ConfigError) Unwrap() []error {
	var errs []error
	for _, p := range e.Problems {
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	return errs
}

func (e *ConfigError) place(p Problem) string {
	switch {
	case e.File == "":
		return ""
	case p.Line == 0:
		return e.File + ": "
	default:
		return fmt.Sprintf("%s:%d: ", e.File, p.Line)
	}
}

// BuildError means that a layer of the image could not be built.
type BuildError struct {
	Layer string // which one, such as "Python packages"
	Log   string // the last lines that the build printed; what an installer says stands here
	Err   error  // what the backend said; may be nil
}

func (e *BuildError) Error() string {
	text := "build image: " + e.Layer + " failed"
	if tail := quotedTail(e.Log); tail != "" || e.Err == nil {
		return text + ":" + tail
	}
	return text + ": " + shown.Text(e.Err.Error())
}

// Unwrap returns Err.
func (e *BuildError) Unwrap() error { return e.Err }

// ExitError means that a command in a sandbox ran and did not succeed.
type ExitError struct {
	Command string // its name, without arguments
	Code    int    // exit status; 128+Signal when a signal ended the command
	Signal  int    // number of the signal that ended the command; 0 = none did
	Stdout  string // the end of what it printed, as far as the call collected it
	Stderr  string // likewise
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != 0 {
		text = "killed by " + signalName(e.Signal)
	}
	if e.Command != "" {
		text = e.Command + ": " + text
	}
	if tail := quotedTail(e.Stderr); tail != "" {
		return text + tail
	}
	return text + quotedTail(e.Stdout)
}

// KernelError is the exception that ended a piece of Python code in a session.
type KernelError struct {
	Name      string // class of the exception, such as "ValueError"
	Value     string // what it says; may be empty
	Traceback string // as Python prints it, without colours; "" = there is none
}

// Error returns the last line of the traceback.
func (e *KernelError) Error() string {
	if e.Value == "" {
		return shown.Text(e.Name)
	}
	return shown.Text(e.Name + ": " + e.Value)
}

// TimeoutError means that something took longer than it was given. It matches
// [context.DeadlineExceeded].
type TimeoutError struct {
	Op    string        // what took too long, such as "exec"
	After time.Duration // how long it was given; 0 = unknown
	Err   error         // the cause; may be nil
}

func (e *TimeoutError) Error() string {
	text := e.Op + ": timed out"
	if e.After > 0 {
		text += " after " + formatDuration(e.After)
	}
	if e.Err != nil && !errors.Is(e.Err, context.DeadlineExceeded) {
		text += ": " + e.Err.Error()
	} else if said := modalclient.Said(e.Err); said != "" {
		text += ": " + said
	}
	return shown.Text(text)
}

// Is reports whether target is [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns Err.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Timeout returns true, as for a [net.Error].
func (e *TimeoutError) Timeout() bool { return true }

// StartError says which step of Start could not be done. What the steps
// before it had made has been removed.
type StartError struct {
	Step string // such as "build image"
	Err  error
}

func (e *StartError) Error() string {
	text := e.Err.Error()
	if !strings.HasPrefix(text, e.Step+": ") {
		text = e.Step + ": " + text
	}
	return shown.Text("start sandbox: " + text)
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// What an error quotes of a log: lines, and bytes of them. The fields beside it
// keep more.
const (
	quotedLines = 20
	quotedBytes = 2000
)

// quotedTail is the end of a log as the indented lines under an error.
func quotedTail(log string) string {
	log = shown.Text(strings.TrimRight(log, " \t\r\n"))
	if log == "" {
		return ""
	}
	if len(log) > quotedBytes {
		log = "…" + strings.ToValidUTF8(log[len(log)-quotedBytes:], "")
	}
	lines := strings.Split(log, "\n")
	if len(lines) > quotedLines {
		lines = lines[len(lines)-quotedLines:]
	}
	return "\n    " + strings.Join(lines, "\n    ")
}

func signalName(number int) string {
	names := map[int]string{
		1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS",
		8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
	}
	if name := names[number]; name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", number)
}
