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
