package modalclient_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// host is a runtime whose commands run on this machine, in a session of their own.
func host(t testing.TB) runtime.Runtime {
	t.Helper()
	return hostWith(t)
}

// hostWith is host with variables that the sandbox's config sets.
func hostWith(t testing.TB, env ...string) runtime.Runtime {
	t.Helper()
	dir := t.TempDir()
	return scripted.New(func(ctx context.Context, e scripted.Exec) scripted.Result {
		e.Env = append(slices.Clip(e.Env), env...)
		return runHere(ctx, dir, e)
	})
}

func runHere(ctx context.Context, dir string, e scripted.Exec) scripted.Result {
	cmd := exec.Command(e.Args[0], e.Args[1:]...)
	cmd.Env = append(append(os.Environ(), "PATH=/usr/local/bin:/usr/bin:/bin"), e.Env...)
	if cmd.Dir = e.Dir; cmd.Dir == "" || cmd.Dir == "/" { // the sandbox's own
		cmd.Dir = dir
	}
	cmd.Stdout, cmd.Stderr = e.Stdout, e.Stderr
	cmd.WaitDelay = 3 * time.Second // for what a failing test leaves behind
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return scripted.Result{Code: 126}
	}
	if err := cmd.Start(); err != nil {
		return scripted.Result{Code: 127}
	}
	go func() {
		_, _ = io.Copy(stdin, e.Stdin)
		_ = stdin.Close()
	}()
	defer context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })()
	var failed *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &failed) && !errors.Is(err, exec.ErrWaitDelay) {
		return scripted.Result{Code: 126}
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return scripted.Result{Signal: int(status.Signal())}
	}
	return scripted.Result{Code: status.ExitStatus()}
}

// ended is a command's end and all that it wrote.
type ended struct {
	stdout, stderr string
	code, signal   int
}

// run runs a command to its end.
func run(t testing.TB, s *modalclient.Sandbox, spec modalclient.ExecSpec, stdin io.Reader) (ended, error) {
	t.Helper()
	p, err := s.Exec(t.Context(), spec)
	if err != nil {
		return ended{}, err
	}
	return finish(t, p, stdin)
}

func finish(t testing.TB, p *modalclient.Process, stdin io.Reader) (ended, error) {
	t.Helper()
	fed := make(chan error, 1)
	go func() {
		if stdin == nil {
			fed <- nil
			return
		}
		_, err := io.Copy(p.Stdin, stdin)
		fed <- errors.Join(err, p.Stdin.Close())
	}()
	type read struct {
		data []byte
		err  error
	}
	errs := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(p.Stderr)
		errs <- read{data, err}
	}()
	stdout, outErr := io.ReadAll(p.Stdout)
	stderr := <-errs
	code, signal, err := p.Wait(t.Context())
	if err == nil {
		err = errors.Join(outErr, stderr.err, <-fed)
	}
	return ended{stdout: string(stdout), stderr: string(stderr.data), code: code, signal: signal}, err
}
