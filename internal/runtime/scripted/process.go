package scripted

import (
	"context"
	"io"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const sigkill = 9

type process struct {
	ctx    context.Context // the handler's; ends with the process
	cancel context.CancelFunc

	stdinReader                *io.PipeReader
	stdinWriter                *io.PipeWriter
	stdoutReader, stderrReader *io.PipeReader
	stdoutWriter, stderrWriter io.Writer

	orphan func() bool // stops waiting for the sandbox's end
	exited sync.Once
	status runtime.ExitStatus
	done   chan struct{}
}

var _ runtime.Process = (*process)(nil)

func newProcess(parent context.Context, spec runtime.ExecSpec) *process {
	p := &process{done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(parent)
	p.stdinReader, p.stdinWriter = io.Pipe()
	p.stdoutReader, p.stdoutWriter = output(spec.DiscardStdout)
	p.stderrReader, p.stderrWriter = output(spec.DiscardStderr)
	if spec.PTY != nil {
		closeWriter(p.stderrWriter)
		p.stderrWriter = p.stdoutWriter
	}
	// A process that is killed from outside ends even if its handler takes its time.
	p.orphan = context.AfterFunc(parent, func() { p.exit(runtime.ExitStatus{Signal: sigkill}) })
	return p
}

func output(discard bool) (*io.PipeReader, io.Writer) {
	r, w := io.Pipe()
	if discard {
		_ = w.Close()
		return r, io.Discard
	}
	return r, w
}

func closeWriter(w io.Writer) {
	if pipe, ok := w.(*io.PipeWriter); ok {
		_ = pipe.Close()
	}
}

// exit ends the process once; later calls change nothing.
func (p *process) exit(status runtime.ExitStatus) {
	p.exited.Do(func() {
		p.status = status
		p.orphan()
		p.cancel()
		_ = p.stdinReader.Close()
		closeWriter(p.stdoutWriter)
		closeWriter(p.stderrWriter)
		close(p.done)
	})
}

func (p *process) Stdin() io.WriteCloser { return p.stdinWriter }
func (p *process) Stdout() io.ReadCloser { return p.stdoutReader }
func (p *process) Stderr() io.ReadCloser { return p.stderrReader }

func (p *process) Signal(signal int) error {
	if signal != 0 {
		p.exit(runtime.ExitStatus{Signal: signal})
	}
	return nil
}

func (p *process) Resize(uint16, uint16) error { return nil }
func (p *process) Done() <-chan struct{}       { return p.done }

func (p *process) Status() runtime.ExitStatus {
	<-p.done
	return p.status
}
