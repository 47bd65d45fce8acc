package seer_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// messages is a log whose messages a test waits for.
type messages struct {
	slog.Handler
	came chan string
}

func (messages) Enabled(context.Context, slog.Level) bool { return true }

func (m messages) Handle(_ context.Context, r slog.Record) error {
	select {
	case m.came <- r.Message:
	default:
	}
	return nil
}

// cutRelays ends every process that carries the program's connections into a
// sandbox without network, with the connections.
const cutRelays = `
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            arguments = file.read().split("\0")
    except OSError:
        continue
    if len(arguments) > 2 and arguments[2].startswith('"""Joins the standard streams to a port'):
        os.kill(int(pid), signal.SIGKILL)
        print(pid)
`

func TestNotebookTellsOfACutConnection(t *testing.T) {
	t.Parallel()
	log := messages{slog.DiscardHandler, make(chan string, 100)}
	sandbox := startSandbox(t, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook, BlockNetwork: true}, seer.WithLogger(slog.New(log)))
	shown := make(chan string, 100)
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{OnOutput: func(_ seer.Cell, o seer.Output) { shown <- o.Text }})
	agent := agent(t, onlyServer(t, session), nil)
	const cell = "import os, time\nprint('before')\nwhile not os.path.exists('/tmp/go-on'): time.sleep(0.01)\nos.remove('/tmp/go-on')\nprint('after')"
	cut := func() error {
		for !strings.Contains(<-shown, "before") {
		}
		killed, err := sandbox.ExecPython(within(t, patience), cutRelays)
		if err != nil {
			return err
		}
		assert.NotEmpty(t, killed)
		for <-log.came != "connected to kernel again" {
		}
		return sandbox.WriteFile(t.Context(), "/tmp/go-on", nil)
	}

	done := make(chan error, 1)
	go func() { done <- cut() }()
	result, err := session.Exec(within(t, patience), cell)
	require.NoError(t, err)
	require.NoError(t, <-done)
	assert.True(t, result.Incomplete)
	assert.Equal(t, "before\nafter\n", result.Text(), "what came before and after the cut is there")

	result, err = session.Exec(within(t, patience), "1 + 1")
	require.NoError(t, err)
	assert.False(t, result.Incomplete)

	go func() { done <- cut() }()
	told := words(t, call(t, agent, "execute_code", map[string]any{"code": cell}))
	require.NoError(t, <-done)
	assert.Contains(t, told, "before\nafter\n[some output may be missing]")
}
