package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnAgentsClientStartsTheCommand: tools over standard input and output,
// and a sandbox that runs on when the client has left.
func TestAnAgentsClientStartsTheCommand(t *testing.T) {
	t.Parallel()
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
}

// TestANotebookOutlivesTheClient: a client that starts the command anew goes on
// with the notebook of that name.
func TestANotebookOutlivesTheClient(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := upWith(t, server, "testdata/notebook.yaml")
	here := t.TempDir()
	run := func(code string) string {
		cmd := exec.CommandContext(t.Context(), binary, "mcp", "--sandbox", id, "--session", "findings")
		cmd.Env, cmd.Dir = append(cleanEnviron(), server.env...), here
		client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
		require.NoError(t, err)
		answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "execute_code", Arguments: map[string]any{"code": code}})
		require.NoError(t, err)
		require.NotEmpty(t, answer.Content)
		require.NoError(t, session.Close())
		text, ok := answer.Content[0].(*mcp.TextContent)
		require.True(t, ok)
		return text.Text
	}
	run("kept = 6")
	assert.Equal(t, "42", run("kept * 7"))
	data, err := os.ReadFile(filepath.Join(here, "outputs", "findings.ipynb"))
	require.NoError(t, err)
	assert.Contains(t, string(data), "kept * 7")
	require.Zero(t, invoke(t, server.env, "rm", id).code)
}

// TestAnAgentManagesSandboxesThroughTheCommand: those of this user alone,
// unless it is told otherwise.
func TestAnAgentManagesSandboxesThroughTheCommand(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	cmd := exec.CommandContext(t.Context(), binary, "mcp", "--manage", "--tag", "team=red")
	cmd.Env = append(cleanEnviron(), server.env...)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	require.NoError(t, err)
	ask := func(tool string, arguments map[string]any) string {
		answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
		require.NoError(t, err)
		require.NotEmpty(t, answer.Content)
		text, ok := answer.Content[0].(*mcp.TextContent)
		require.True(t, ok)
		require.False(t, answer.IsError, text.Text)
		return text.Text
	}
	assert.Contains(t, ask("list_sandboxes", nil), `"lease":"detached"`)
	assert.Equal(t, "hello\n", ask("run_command", map[string]any{"sandbox": id, "command": "echo $GREETING"}))
	assert.Equal(t, "Ended "+id+".", ask("terminate_sandbox", map[string]any{"sandbox": id}))
	assert.Equal(t, "None is running.", ask("list_sandboxes", nil))
	require.NoError(t, session.Close())
	assert.Empty(t, invoke(t, server.env, "ps", "-q").stdout)

	refused := append(server.env[:len(server.env):len(server.env)], "MODAL_TOKEN_SECRET=as-wrong")
	assert.Equal(t, exitUnauthorized, invoke(t, refused, "mcp", "--manage").code)
}
