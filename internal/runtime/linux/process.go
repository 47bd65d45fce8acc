//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// process implements runtime.Process.
type process struct {
	*guest.Process
	sandbox        *sandbox
	stdin          io.WriteCloser
	stdout, stderr io.ReadCloser
	terminal       *os.File // nil without a PTY
	kills          uint64   // of the sandbox's cgroup for memory, when the process started
	status         runtime.ExitStatus
	done           chan struct{}
}

// launch starts a process with pipes or a terminal. Ended is called just before
// the process is reported as done.
func (s *sandbox) launch(ctx context.Context, spec runtime.ExecSpec, ended func()) (*process, error) {
	if !s.enter() {
		return nil, guest.ErrGone
	}
	p, err := s.spawn(ctx, spec)
	if err != nil {
		s.running.Done()
		return nil, err
	}
	go p.await(ended)
	return p, nil
}

func (s *sandbox) spawn(ctx context.Context, spec runtime.ExecSpec) (*process, error) {
	cmd := guest.Command{Args: spec.Args, Dir: spec.Workdir, User: s.image.Config.User}
	if cmd.Dir == "" {
		cmd.Dir = s.workdir()
	}
	cmd.Env = s.environment(spec)
	p := &process{sandbox: s, done: make(chan struct{}), kills: s.group.outOfMemory()}
	var err error
	if spec.PTY != nil {
		cmd.Terminal = &guest.Size{Rows: spec.PTY.Rows, Cols: spec.PTY.Cols}
		p.Process, p.terminal, err = s.guest.Exec(ctx, cmd)
		if err == nil {
			p.stdin, p.stdout, p.stderr = terminalInput{p.terminal}, &terminalOutput{p.terminal}, noOutput{}
		}
	} else {
		err = p.connect(ctx, cmd, spec)
	}
	return p, err
}

func (s *sandbox) workdir() string {
	if s.spec.Workdir != "" {
		return s.spec.Workdir
	}
	return s.image.Config.Workdir
}

// environment is that of a process: the image's, the sandbox's and its own, of
// which the later one wins.
func (s *sandbox) environment(spec runtime.ExecSpec) []string {
	env := []string{"PATH=" + systemPath, "HOME=/root", "HOSTNAME=" + hostname(s.spec.ID)}
	if spec.PTY != nil && spec.PTY.Term != "" {
		env = append(env, "TERM="+spec.PTY.Term)
	}
	return dedupe(slices.Concat(env, s.image.Config.Env, s.spec.Env, spec.Env))
}

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// connect starts a process on three pipes. Its ends of them are blocking, as
// programs expect; ours are not.
func (p *process) connect(ctx context.Context, cmd guest.Command, spec runtime.ExecSpec) error {
	var theirs, ours []*os.File
	fail := func(err error) error {
		for _, f := range append(theirs, ours...) {
			_ = f.Close() // a nil one says so
		}
		return err
	}
	for i, discard := range []bool{false, spec.DiscardStdout, spec.DiscardStderr} {
		if discard {
			theirs, ours = append(theirs, nil), append(ours, nil)
			continue
		}
		read, write, err := pipe(i == 0)
		if err != nil {
			return fail(err)
		}
		if i == 0 {
			theirs, ours = append(theirs, read), append(ours, write)
		} else {
			theirs, ours = append(theirs, write), append(ours, read)
		}
	}
	var err error
	if p.Process, _, err = p.sandbox.guest.Exec(ctx, cmd, theirs...); err != nil {
		return fail(err)
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	p.stdin, p.stdout, p.stderr = ours[0], output(ours[1]), output(ours[2])
	return nil
}

// pipe opens a pipe of which one end, that for writing or that for reading, is
// ours.
func pipe(weWrite bool) (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("open pipe: %w", err)
	}
	own := fds[0]
	if weWrite {
		own = fds[1]
	}
	if err := unix.SetNonblock(own, true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

func output(f *os.File) io.ReadCloser {
	if f == nil {
		return noOutput{}
	}
	return f
}

func (p *process) await(ended func()) {
	defer p.sandbox.running.Done()
	<-p.Process.Done()
	code, signal := p.Process.Status()
	p.status = runtime.ExitStatus{
		Code: code, Signal: int(signal),
		OOM: signal == syscall.SIGKILL && p.sandbox.group.outOfMemory() > p.kills,
	}
	ended()
	close(p.done)
}

func (p *process) Stdin() io.WriteCloser      { return p.stdin }
func (p *process) Stdout() io.ReadCloser      { return p.stdout }
func (p *process) Stderr() io.ReadCloser      { return p.stderr }
func (p *process) Done() <-chan struct{}      { return p.done }
func (p *process) Status() runtime.ExitStatus { return p.status }

func (p *process) Signal(signal int) error {
	err := p.Process.Signal(context.Background(), syscall.Signal(signal))
	if errors.Is(err, guest.ErrGone) {
		return nil
	}
	return err
}

func (p *process) Resize(rows, cols uint16) error {
	if p.terminal == nil {
		return fmt.Errorf("resize terminal: %w", runtime.ErrUnsupported)
	}
	conn, err := p.terminal.SyscallConn()
	if err != nil {
		return err
	}
	var resizeErr error
	err = conn.Control(func(fd uintptr) {
		resizeErr = guest.Resize(int(fd), guest.Size{Rows: rows, Cols: cols})
	})
	return errors.Join(err, resizeErr)
}

// noOutput is the output of a process that has none.
type noOutput struct{}

func (noOutput) Read([]byte) (int, error) { return 0, io.EOF }
func (noOutput) Close() error             { return nil }

// terminalInput says end of file as a user does.
type terminalInput struct{ *os.File }

func (t terminalInput) Close() error {
	const endOfTransmission = 4
	_, err := t.Write([]byte{endOfTransmission})
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// terminalOutput ends when the last process has closed the terminal.
type terminalOutput struct{ file *os.File }

func (t *terminalOutput) Close() error { return t.file.Close() }

func (t *terminalOutput) Read(b []byte) (int, error) {
	n, err := t.file.Read(b)
	if errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}

// dedupe keeps the last value of each variable, in the order of first mention.
func dedupe(env []string) []string {
	at := map[string]int{}
	var out []string
	for _, v := range env {
		name := v
		for i := range len(v) {
			if v[i] == '=' {
				name = v[:i]
				break
			}
		}
		if i, ok := at[name]; ok {
			out[i] = v
			continue
		}
		at[name] = len(out)
		out = append(out, v)
	}
	return out
}
