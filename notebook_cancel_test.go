package seer_test

import (
	"context"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// A cell that an agent runs tells what it prints while it runs, and ends when
// the agent cancels it.
func testCancelThroughMCP(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	reached := make(chan string, 100)
	client := agent(t, onlyServer(t, session), &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, request *mcp.ProgressNotificationClientRequest) {
			reached <- request.Params.Message
		},
	})
	ctx, cancel := context.WithCancel(within(t, patience))
	params := &mcp.CallToolParams{Name: "execute_code", Arguments: map[string]any{
		"code": "import time\nkept = 1\ntry:\n    print('for hours', flush=True)\n    time.sleep(3600)\nexcept KeyboardInterrupt:\n    kept = 2\n    raise",
	}}
	params.SetProgressToken("cell")
	done := make(chan error, 1)
	go func() {
		_, err := client.CallTool(ctx, params)
		done <- err
	}()
	for !strings.Contains(<-reached, "for hours") {
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.Equal(t, "2", text(t, session, "kept"), "the cell itself was interrupted")
	assert.Contains(t, (&seer.Result{Outputs: session.Cells()[0].Outputs}).Text(), "KeyboardInterrupt", "and the notebook shows it")
}

func testNotebookInterrupt(t *testing.T, sandbox *seer.Sandbox) {
	begun := make(chan struct{}, 1)
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{OnOutput: func(_ seer.Cell, o seer.Output) {
		if strings.Contains(o.Text, "begun") {
			begun <- struct{}{}
		}
	}})
	const endless = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"
	ctx, cancel := context.WithCancel(within(t, patience))
	go func() {
		<-begun
		cancel()
	}()
	result, err := session.Exec(ctx, "kept = 1\n"+endless)
	require.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, result.Text(), "KeyboardInterrupt")
	assert.Equal(t, "1", text(t, session, "kept"))

	interrupted := make(chan error, 1)
	go func() {
		<-begun
		interrupted <- session.Interrupt(within(t, patience))
	}()
	_, err = session.Exec(within(t, patience), endless)
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "KeyboardInterrupt", raised.Name)
	require.NoError(t, <-interrupted)

	_, err = session.Exec(within(t, patience), missedInterrupt)
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "KeyboardInterrupt", raised.Name)
}

// missedInterrupt interrupts itself so that Python knows of it and the call that
// waits does not.
const missedInterrupt = `
import signal, threading, time
threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
time.sleep(3600)`
