package modalclient_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
)

func TestExecCostsNoMoreCallsThanModals(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	command := func() {
		result, err := run(t, s, modalclient.ExecSpec{Args: []string{"echo", "hello"}}, nil)
		require.NoError(t, err)
		assert.Equal(t, ended{stdout: "hello\n"}, result)
	}
	assert.ElementsMatch(t, []string{"SandboxGetTaskId", "TaskGetCommandRouterAccess",
		"TaskExecStart", "TaskExecStdioRead", "TaskExecStdioRead", "TaskExecWait"}, w.record(command), "the first")
	assert.ElementsMatch(t, []string{"TaskExecStart", "TaskExecStdioRead", "TaskExecStdioRead", "TaskExecWait"}, w.record(command))
}

func TestHowCommandsEnd(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	for name, c := range map[string]struct {
		args []string
		want ended
	}{
		"code":             {[]string{"sh", "-c", "echo out; echo err >&2; exit 7"}, ended{stdout: "out\n", stderr: "err\n", code: 7}},
		"signal":           {[]string{"sh", "-c", "kill -15 $$"}, ended{signal: 15}},
		"kill":             {[]string{"sh", "-c", "kill -9 $$"}, ended{signal: 9}},
		"128 and more":     {[]string{"sh", "-c", "exit 143"}, ended{code: 143}},
		"no newline":       {[]string{"printf", "x"}, ended{stdout: "x"}},
		"empty stdin":      {[]string{"cat"}, ended{}},
		"odd arguments":    {[]string{"printf", "[%s]", "", " ", "-n", "'\"$(x)`", "a\nb\n", "\xff\x81", "文件"}, ended{stdout: "[][ ][-n]['\"$(x)`][a\nb\n][\xff\x81][文件]"}},
		"starts with dash": {[]string{"printf", "%s", "--"}, ended{stdout: "--"}},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := run(t, s, modalclient.ExecSpec{Args: c.args}, nil)
			require.NoError(t, err)
			assert.Equal(t, c.want, result)
		})
	}
	result, err := run(t, s, modalclient.ExecSpec{Args: []string{"no such program"}}, nil)
	require.NoError(t, err)
	assert.Equal(t, 127, result.code)
	assert.Contains(t, result.stderr, "not found")
	result, err = run(t, s, modalclient.ExecSpec{Args: []string{"pwd"}, Dir: "/usr"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "/usr\n", result.stdout)
}

func TestInvalidCommands(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	for name, spec := range map[string]modalclient.ExecSpec{
		"none":         {},
		"empty":        {Args: []string{""}},
		"NUL":          {Args: []string{"echo", "a\x00b"}},
		"too large":    {Args: []string{"echo", strings.Repeat("x", 128<<10)}},
		"bad variable": {Args: []string{"env"}, Env: map[string]string{"A-B": "x"}},
		"NUL in value": {Args: []string{"env"}, Env: map[string]string{"A": "x\x00"}},
	} {
		_, err := s.Exec(t.Context(), spec)
		require.ErrorIs(t, err, modalclient.ErrInvalid, name)
	}
}

func TestEnvironmentTravelsOverStdin(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	everything := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		everything = append(everything, byte(b))
	}
	input := "rest\x00of\n\nthe input\n\n"
	for name, value := range map[string]string{
		"plain": "hunter2", "empty": "", "lines": "\n a\\n\n\n b \n\n", "bytes": string(everything),
		"large": strings.Repeat("line\n", 20_000) + "\n", "one long line": strings.Repeat("x", 20_000),
		"utf-8": "ünï 文件 🙂",
	} {
		t.Run(name, func(t *testing.T) {
			spec := modalclient.ExecSpec{
				Args:  []string{"sh", "-c", `printf '%s|' "$VALUE"; cat`},
				Env:   map[string]string{"VALUE": value, "A": "1"},
				Stdin: true,
			}
			var result ended
			var err error
			calls := w.record(func() { result, err = run(t, s, spec, strings.NewReader(input)) })
			require.NoError(t, err)
			assert.Equal(t, value+"|"+input, result.stdout)
			assert.NotContains(t, calls, "SecretGetOrCreate")
			if value != "" {
				assert.NotContains(t, text(t, w.request("TaskExecStart")), "hunter2")
			}
			spec.Stdin = false
			calls = w.record(func() { result, err = run(t, s, spec, nil) })
			require.NoError(t, err)
			assert.Equal(t, value+"|", result.stdout)
			assert.Len(t, calls, 5)
		})
	}
}

func TestLongArguments(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	args := []string{"sh", "-c", `printf '%s\0' "$@"; cat`, "x"}
	for i := range 60 {
		args = append(args, strings.Repeat(fmt.Sprintf("%d\n", i), 1000), "", "\n", strings.Repeat("y", 4096))
	}
	result, err := run(t, s, modalclient.ExecSpec{Args: args, Stdin: true}, strings.NewReader("input"))
	require.NoError(t, err)
	assert.True(t, result.stdout == strings.Join(args[4:], "\x00")+"\x00input", "arguments or input changed")
}

func TestLargeBinaryBothWays(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	const size = 100 << 20
	sent, received := sha256.New(), sha256.New()
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"cat"}, Stdin: true})
	require.NoError(t, err)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		_, err := io.Copy(p.Stdin, io.TeeReader(io.LimitReader(rand.Reader, size), sent))
		assert.NoError(t, errors.Join(err, p.Stdin.Close()))
	})
	n, err := io.Copy(received, p.Stdout)
	require.NoError(t, err)
	feeding.Wait()
	assert.EqualValues(t, size, n)
	assert.Equal(t, sent.Sum(nil), received.Sum(nil))
	_, err = io.Copy(io.Discard, p.Stderr)
	require.NoError(t, err)
	code, signal, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Zero(t, code+signal)
}

func TestOutputCanBeReadAfterWait(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sh", "-c", "echo out; exit 3"}, DiscardStderr: true})
	require.NoError(t, err)
	for range 2 {
		code, _, err := p.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, code)
	}
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	assert.Equal(t, "out\n", string(out))
}

func TestDiscardedOutput(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	calls := w.record(func() {
		result, err := run(t, s, modalclient.ExecSpec{Args: []string{"sh", "-c", "echo a; echo b >&2"}, DiscardStdout: true, DiscardStderr: true}, nil)
		require.NoError(t, err)
		assert.Equal(t, ended{}, result)
	})
	assert.NotContains(t, calls, "TaskExecStdioRead")
}

func TestManyCommandsAtOnce(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	var commands sync.WaitGroup
	for i := range 64 {
		commands.Go(func() {
			in := bytes.Repeat([]byte{byte(i)}, 10_000)
			result, err := run(t, s, modalclient.ExecSpec{
				Args: []string{"sh", "-c", `cat; printf %s "$N" >&2; exit "$N"`}, Env: map[string]string{"N": fmt.Sprint(i)}, Stdin: true,
			}, bytes.NewReader(in))
			assert.NoError(t, err)
			assert.Equal(t, ended{stdout: string(in), stderr: fmt.Sprint(i), code: i}, result)
		})
	}
	commands.Wait()
}

func TestInputThatNobodyReads(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"true"}, Stdin: true})
	require.NoError(t, err)
	_, _, err = p.Wait(t.Context())
	require.NoError(t, err)
	_, err = io.Copy(p.Stdin, io.LimitReader(rand.Reader, 64<<20))
	require.ErrorIs(t, err, modalclient.ErrProcessDone)
	require.NoError(t, p.Stdin.Close())
}

func TestBrokenConnectionsDoNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	var mu sync.Mutex
	failures := map[string]int{"TaskExecStart": 1, "TaskExecStdioRead": 2, "TaskExecStdinWrite": 2, "TaskExecWait": 2}
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if failures[call.Method] > 0 {
			failures[call.Method]--
			return status.Error(codes.Unavailable, "try again")
		}
		return nil
	})
	result, err := run(t, s, modalclient.ExecSpec{Args: []string{"cat"}, Stdin: true}, strings.NewReader("once"))
	require.NoError(t, err)
	assert.Equal(t, ended{stdout: "once"}, result)
	for method, left := range failures {
		assert.Zero(t, left, method)
	}
}

func TestExpiredRouterToken(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	refused := map[string]bool{}
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "TaskExecStart" && !refused[call.Method] {
			refused[call.Method] = true
			return status.Error(codes.Unauthenticated, "token expired")
		}
		return nil
	})
	_, err := run(t, s, modalclient.ExecSpec{Args: []string{"true"}}, nil)
	require.NoError(t, err)
	assert.True(t, refused["TaskExecStart"])
}

// A refusal that nothing can mend ends after a counted number of calls, without
// a deadline of the caller's, and with the server's words.
func TestRefusedTokensEndInACountedNumberOfCalls(t *testing.T) {
	for _, method := range []string{"TaskGetCommandRouterAccess", "TaskExecStart", "SandboxGetTaskId"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, host(t))
			s := w.sandbox(t)
			w.intercept(func(_ context.Context, call modalserver.Call) error {
				if call.Method == method {
					return status.Error(codes.Unauthenticated, "token was revoked")
				}
				return nil
			})
			var err error
			calls := w.record(func() {
				_, err = run(t, s, modalclient.ExecSpec{Args: []string{"true"}}, nil)
			})
			require.ErrorIs(t, err, modalclient.ErrUnauthorized)
			require.ErrorContains(t, err, "token was revoked")
			assert.LessOrEqual(t, count(calls, method), 4, "once more with a new token, for the command and for its end")
			assert.Less(t, len(calls), 20)
		})
	}
}

func TestSandboxEndsUnderCommand(t *testing.T) {
	w := newWorld(t, host(t))
	other := w.connect(t)
	s := w.sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sh", "-c", "echo started; sleep 1000"}, Stdin: true})
	require.NoError(t, err)
	line := make([]byte, 8)
	_, err = io.ReadFull(p.Stdout, line)
	require.NoError(t, err)

	again, err := other.Sandbox(t.Context(), s.ID())
	require.NoError(t, err)
	require.NoError(t, again.Terminate(t.Context()))
	_, _, err = p.Wait(t.Context())
	var terminated *modalclient.TerminatedError
	require.ErrorAs(t, err, &terminated)
	require.ErrorIs(t, err, modalclient.ErrTerminated)
	assert.Equal(t, modalclient.ReasonTerminated, terminated.Exit.Reason)
	_, err = p.Stdin.Write([]byte("x"))
	require.Error(t, err)
	_, err = io.ReadAll(p.Stdout)
	require.ErrorIs(t, err, modalclient.ErrTerminated)

	_, err = s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"true"}})
	require.ErrorIs(t, err, modalclient.ErrTerminated)
	require.NoError(t, s.Terminate(t.Context()))
	exit, err := s.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, modalclient.ReasonTerminated, exit.Reason)
}

func TestServerGoesAwayUnderCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	started := time.Now()
	require.NoError(t, w.server.Close())
	_, _, err = p.Wait(t.Context())
	require.Error(t, err)
	assert.True(t, errors.Is(err, modalclient.ErrSandboxLost) || errors.Is(err, modalclient.ErrTerminated), err)
	t.Logf("noticed after %s: %v", time.Since(started), err)
}

func TestDetachLeavesCommandsAlone(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sleep", "1000"}})
	require.NoError(t, err)
	calls := w.record(func() {
		s.Detach()
		s.Detach()
		_, _, err = p.Wait(t.Context())
		require.ErrorIs(t, err, modalclient.ErrClosed)
		_, err = p.Stdout.Read(make([]byte, 1))
		require.ErrorIs(t, err, modalclient.ErrClosed)
	})
	assert.NotContains(t, calls, "TaskExecStart")
	assert.Len(t, w.server.Sandboxes(), 1)
}
