package modalclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
)

// tree starts, beside the command itself: a child, a daemon by double fork in
// a session of its own, one that ignores TERM, and one that has shed the
// command's environment. All carry $0 in their command line.
const tree = `
trap '' TERM
sleep 1000 &
sh -c 'exec setsid sh -c "sleep 1000; : $0" "$0" &' "$0"
setsid sh -c 'trap "" TERM; sleep 1000; : $0' "$0" &
env -i sh -c 'sleep 1000; :' "$0" &
echo ready
while :; do sleep 1; done
`

// running returns the command lines of processes that contain a text.
func running(t testing.TB, text string) []string {
	t.Helper()
	var found []string
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(text)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// plant starts a tree and returns once it runs, with the text in its command lines.
func plant(ctx context.Context, t *testing.T, s *modalclient.Sandbox, timeout time.Duration) (*modalclient.Process, string) {
	t.Helper()
	mark := "tree-" + uuid.NewString()
	p, err := s.Exec(ctx, modalclient.ExecSpec{Args: []string{"sh", "-c", tree, mark}, Timeout: timeout})
	require.NoError(t, err)
	line := make([]byte, len("ready\n"))
	_, err = io.ReadFull(p.Stdout, line)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(running(t, mark)) > 3 }, 10*time.Second, 5*time.Millisecond)
	return p, mark
}

func TestCancelKillsTheWholeTree(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	p, mark := plant(ctx, t, s, 0)
	cancel(cause)
	_, _, err := p.Wait(t.Context())
	require.ErrorIs(t, err, cause)
	assert.Empty(t, running(t, mark))
	_, err = io.ReadAll(p.Stdout)
	require.ErrorIs(t, err, cause)
}

func TestTimeoutKillsTheWholeTree(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	p, mark := plant(t.Context(), t, s, 1500*time.Millisecond)
	_, _, err := p.Wait(t.Context())
	var timeout *modalclient.TimeoutError
	require.ErrorAs(t, err, &timeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, 1500*time.Millisecond, timeout.After)
	assert.Empty(t, running(t, mark))
}

func TestTimeoutKeepsWhatWasRead(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	result, err := run(t, s, modalclient.ExecSpec{Args: []string{"sh", "-c", "echo early; sleep 1000"}, Timeout: 3 * time.Second}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, "early\n", result.stdout)
}

func TestKill(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	p, mark := plant(t.Context(), t, s, 0)
	bystander, other := plant(t.Context(), t, s, 0)
	require.NoError(t, p.Kill(t.Context()))
	assert.Empty(t, running(t, mark))
	assert.NotEmpty(t, running(t, other), "another command's processes")
	_, signal, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 9, signal)
	require.NoError(t, p.Kill(t.Context()))
	var kills sync.WaitGroup
	for range 3 {
		kills.Go(func() { assert.NoError(t, bystander.Kill(t.Context())) })
	}
	kills.Wait()
	assert.Empty(t, running(t, other))
}

func TestTermComesFirst(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sh", "-c", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done"}})
	require.NoError(t, err)
	_, err = io.ReadFull(p.Stdout, make([]byte, len("ready\n")))
	require.NoError(t, err)
	require.NoError(t, p.Kill(t.Context()))
	result, err := finish(t, p, nil)
	require.NoError(t, err)
	assert.Equal(t, "bye\n", result.stdout)
	assert.Equal(t, 5, result.code)
}

func TestCancelOfAWriteThatNobodyReads(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := s.Exec(ctx, modalclient.ExecSpec{Args: []string{"sleep", "1000"}, Stdin: true})
	require.NoError(t, err)
	const held = 5 // MiB: more than the server keeps for a command
	var writes atomic.Int32
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "TaskExecStdinWrite" && writes.Add(1) == held {
			cancel()
		}
		return nil
	})
	_, err = io.Copy(p.Stdin, &onRead{n: -1})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = p.Wait(t.Context())
	require.ErrorIs(t, err, context.Canceled)
}

// onRead yields a MiB at a time without end and calls a function at the nth.
type onRead struct {
	n    int
	then func()
}

func (r *onRead) Read(p []byte) (int, error) {
	if r.n--; r.n == 0 {
		r.then()
	}
	return len(p), nil
}

func TestCancelDuringStart(t *testing.T) {
	w := newWorld(t, host(t))
	s := w.sandbox(t)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	mark := "start-" + uuid.NewString()
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "TaskExecStart" {
			once.Do(cancel)
		}
		return nil
	})
	p, err := s.Exec(ctx, modalclient.ExecSpec{Args: []string{"sh", "-c", "sleep 1000; :", mark}})
	if err == nil { // the start was faster
		_, _, err = p.Wait(ctx)
	}
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, running(t, mark))
}

func TestSecretsAreInNoArgv(t *testing.T) {
	s := newWorld(t, host(t)).sandbox(t)
	value := "value-" + uuid.NewString()
	p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"sh", "-c", "echo ready; cat"}, Env: map[string]string{"TOKEN": value}, Stdin: true})
	require.NoError(t, err)
	_, err = io.ReadFull(p.Stdout, make([]byte, len("ready\n")))
	require.NoError(t, err)
	assert.Empty(t, running(t, value))
	require.NoError(t, p.Stdin.Close())
	_, err = finish(t, p, nil)
	require.NoError(t, err)
}
