package main

import (
	"os/exec"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnAgentsClientStartsTheCommand: tools over standard input and output,
// and a sandbox that runs on when the client has left.
func TestAnAgentsClientStartsTheCommand(t *testing.T) {
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	cmd := exec.CommandContext(t.Context(), binary, "mcp", "--sandbox", id)
	cmd.Env = append(cleanEnviron(), server.env...)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	require.NoError(t, err)
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{
		Name: "run_command", Arguments: map[string]any{"command": `echo "$GREETING from the sandbox"`},
	})
	require.NoError(t, err)
	require.NotEmpty(t, answer.Content)
	text, ok := answer.Content[0].(*mcp.TextContent)
	require.True(t, ok)
	assert.Contains(t, text.Text, "hello from the sandbox")
	require.NoError(t, session.Close())

	assert.Equal(t, "here\n", invoke(t, server.env, "exec", id, "--", "echo", "here").stdout)
	require.Zero(t, invoke(t, server.env, "rm", id).code)
	assert.Equal(t, exitUsage, invoke(t, server.env, "mcp").code)
}
