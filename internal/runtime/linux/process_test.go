//go:build linux

package linux_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

func TestExecKeepsExitCodesAndSignals(t *testing.T) {
	s := start(t, newRuntime(t))
	for script, want := range map[string]runtime.ExitStatus{
		"exit 0":        {},
		"exit 255":      {Code: 255},
		"kill -TERM $$": {Signal: int(syscall.SIGTERM)},
		"kill -KILL $$": {Signal: int(syscall.SIGKILL)},
	} {
		assert.Equal(t, want, run(t, s, "/bin/sh", "-c", script).status, script)
	}
}

func TestExecOfWhatCannotRun(t *testing.T) {
	s := start(t, newRuntime(t))
	put(t, s, "/tmp/plain", "echo", 0o644)
	for _, c := range []struct {
		spec runtime.ExecSpec
		want error
	}{
		{runtime.ExecSpec{Args: []string{"/no/such/program"}}, fs.ErrNotExist},
		{runtime.ExecSpec{Args: []string{"no-such-program"}}, fs.ErrNotExist},
		{runtime.ExecSpec{Args: []string{"/tmp/plain"}}, fs.ErrPermission},
		{runtime.ExecSpec{Args: []string{"/tmp"}}, fs.ErrPermission},
		{runtime.ExecSpec{Args: []string{"true"}, Workdir: "/no/such/directory"}, fs.ErrNotExist},
	} {
		_, err := s.Exec(t.Context(), c.spec)
		assert.ErrorIs(t, err, c.want, "%v", c.spec)
	}
}

func TestExecEnvironment(t *testing.T) {
	s := start(t, newRuntime(t), func(spec *runtime.Spec) {
		spec.Env = []string{"A=sandbox", "B=sandbox"}
		spec.Workdir = "/usr"
	})
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "echo $A $B $C $HOME; pwd; hostname"}, Env: []string{"B=exec", "C=x=y"}})
	require.NoError(t, err)
	got := strings.Fields(finish(t, p).stdout)
	assert.Equal(t, []string{"sandbox", "exec", "x=y", "/root", "/usr"}, got[:5])
	assert.True(t, strings.HasPrefix(got[5], "test-"), got[5])
}

func TestStreamsAreCompleteAndExact(t *testing.T) {
	s := start(t, newRuntime(t))
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"cat"}})
	require.NoError(t, err)
	const size = 100 << 20
	sent, received := sha256.New(), sha256.New()
	var wait sync.WaitGroup
	wait.Go(func() {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i * 7)
		}
		for range size / len(block) {
			_, _ = sent.Write(block)
			_, err := p.Stdin().Write(block)
			assert.NoError(t, err)
		}
		assert.NoError(t, p.Stdin().Close())
	})
	n, err := io.Copy(received, p.Stdout())
	require.NoError(t, err)
	wait.Wait()
	assert.EqualValues(t, size, n)
	assert.Equal(t, sent.Sum(nil), received.Sum(nil))
	<-p.Done()
	assert.Equal(t, runtime.ExitStatus{}, p.Status())
	require.NoError(t, p.Stdout().Close())
	require.NoError(t, p.Stderr().Close())
}

func TestLongCommand(t *testing.T) {
	s := start(t, newRuntime(t))
	arg := strings.Repeat("x", 100<<10)
	args := []string{"sh", "-c", `for a; do printf %s "$a"; done | wc -c`, "sh"}
	for range 10 {
		args = append(args, arg)
	}
	assert.Equal(t, fmt.Sprintln(10*len(arg)), run(t, s, args...).stdout)
}

func TestDiscardedOutput(t *testing.T) {
	s := start(t, newRuntime(t))
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "yes | head -c 1000000; echo kept >&2"}, DiscardStdout: true})
	require.NoError(t, err)
	assert.Equal(t, result{"", "kept\n", runtime.ExitStatus{}}, finish(t, p))
}

func TestSignalReachesTheWholeSession(t *testing.T) {
	s := start(t, newRuntime(t))
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"}})
	require.NoError(t, err)
	line, err := bufio.NewReader(p.Stdout()).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	require.NoError(t, p.Signal(int(syscall.SIGKILL)))
	// The end of the output says that the background processes are gone, too.
	_, err = io.Copy(io.Discard, p.Stdout())
	require.NoError(t, err)
	<-p.Done()
	assert.Equal(t, runtime.ExitStatus{Signal: int(syscall.SIGKILL)}, p.Status())
	require.NoError(t, p.Signal(int(syscall.SIGKILL)), "after the end")
	for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
		require.NoError(t, c.Close())
	}
}

func TestTerminal(t *testing.T) {
	s := start(t, newRuntime(t))
	p, err := s.Exec(t.Context(), runtime.ExecSpec{
		Args: []string{"sh", "-c", "tty; stty size; echo $TERM; read line; stty size; cat"},
		PTY:  &runtime.PTY{Rows: 24, Cols: 80, Term: "xterm"},
	})
	require.NoError(t, err)
	out := bufio.NewReader(p.Stdout())
	next := func() string {
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(line)
	}
	assert.Equal(t, "/dev/pts/0", next())
	assert.Equal(t, "24 80", next())
	assert.Equal(t, "xterm", next())
	require.NoError(t, p.Resize(50, 132))
	_, err = io.WriteString(p.Stdin(), "go\n")
	require.NoError(t, err)
	assert.Equal(t, "go", next(), "the echo")
	assert.Equal(t, "50 132", next())
	require.NoError(t, p.Stdin().Close())
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	<-p.Done()
	assert.Equal(t, runtime.ExitStatus{}, p.Status())
	require.NoError(t, p.Stdout().Close())
}

func TestManyExecsAtOnce(t *testing.T) {
	s := start(t, newRuntime(t))
	var wait sync.WaitGroup
	for i := range 64 {
		wait.Go(func() {
			p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}})
			if !assert.NoError(t, err) {
				return
			}
			assert.Equal(t, result{fmt.Sprintln(i), "", runtime.ExitStatus{Code: i}}, finish(t, p))
		})
	}
	wait.Wait()
	assert.False(t, s.Busy())
}

func TestDial(t *testing.T) {
	r := newRuntime(t)
	// Two sandboxes serve the same port at once.
	for _, name := range []string{"one", "two"} {
		s := start(t, r)
		sh(t, s, "mkdir /srv/www && hostname > /srv/www/index.html")
		p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{
			"python3", "-u", "-m", "http.server", "--directory", "/srv/www", "--bind", "127.0.0.1", "8888",
		}})
		require.NoError(t, err)
		_, err = bufio.NewReader(p.Stdout()).ReadString('\n')
		require.NoError(t, err)

		client := &http.Client{Transport: &http.Transport{DialContext: dialer(s, 8888), DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sandbox/", nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, sh(t, s, "hostname"), string(body), name)
		assert.True(t, s.Busy())

		_, err = s.Dial(t.Context(), 1)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
			require.NoError(t, c.Close())
		}
	}
}
