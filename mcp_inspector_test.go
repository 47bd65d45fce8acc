package seer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

const inspectorVersion = "0.17.5"

// inspector installs the protocol's own client once, outside the repository.
func inspector(t *testing.T) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skipf("the inspector needs npm: %v", err)
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	home := filepath.Join(cache, "seer-go-tests", "mcp-inspector-"+inspectorVersion)
	program := filepath.Join(home, "node_modules", ".bin", "mcp-inspector")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(home), 0o700))
	stage, err := os.MkdirTemp(filepath.Dir(home), "install-") //nolint:usetesting // on the file system of home, to be renamed
	require.NoError(t, err)
	defer os.RemoveAll(stage)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--prefix", stage, "--no-audit", "--no-fund", "--ignore-scripts",
		"@modelcontextprotocol/inspector@"+inspectorVersion)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("the inspector cannot be installed: %v\n%s", err, out)
	}
	if err := os.Rename(stage, home); err != nil { // unless another test process was faster
		require.FileExists(t, program)
	}
	return program
}

// inspect runs the inspector against a server and returns what it prints.
func inspect(t *testing.T, server seer.MCPServer, arguments ...string) ([]byte, error) {
	t.Helper()
	arguments = append([]string{"--cli", server.URL, "--transport", "http", "--header", "Authorization: " + server.Headers["Authorization"]}, arguments...)
	cmd := exec.CommandContext(within(t, 2*time.Minute), inspector(t), arguments...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil {
		t.Logf("%s", complaints.Bytes())
	}
	return out.Bytes(), err
}

type inspectedTool struct {
	Name        string
	InputSchema struct {
		Properties map[string]any
		Required   []string
	}
	Annotations struct{ ReadOnlyHint, DestructiveHint bool }
}

// inspectTools lists a server's tools by their names.
func inspectTools(t *testing.T, server seer.MCPServer) map[string]inspectedTool {
	t.Helper()
	out, err := inspect(t, server, "--method", "tools/list")
	require.NoError(t, err)
	var list struct{ Tools []inspectedTool }
	require.NoError(t, json.Unmarshal(out, &list), "%s", out)
	tools := map[string]inspectedTool{}
	for _, tool := range list.Tools {
		tools[tool.Name] = tool
	}
	return tools
}

func TestMCPWithTheProtocolsInspector(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	inspector(t)
	server := onlyServer(t, startLocal(t, nil, nil))
	tools := inspectTools(t, server)
	assert.Contains(t, tools["run_python"].InputSchema.Properties, "code")
	assert.Contains(t, tools["write_file"].InputSchema.Properties, "content")
	assert.True(t, tools["read_file"].Annotations.ReadOnlyHint)

	out, err := inspect(t, server, "--method", "tools/call", "--tool-name", "run_python", "--tool-arg", "code=6 * 7")
	require.NoError(t, err)
	assert.JSONEq(t, `{"content":[{"type":"text","text":"42"}]}`, string(out))

	server.Headers["Authorization"] = "Bearer wrong"
	_, err = inspect(t, server, "--method", "tools/list")
	require.Error(t, err)
}

// TestSandboxToolsWithTheProtocolsInspector: a notebook's and a shell's. What
// each tool does is tested without a start of Node for each call.
func TestSandboxToolsWithTheProtocolsInspector(t *testing.T) {
	if testing.Short() {
		t.Skip("the Inspector and Node are large")
	}
	t.Parallel()
	inspector(t)
	sandbox := startSandbox(t, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
	call := func(server seer.MCPServer, tool string, arguments ...string) string {
		t.Helper()
		line := []string{"--method", "tools/call", "--tool-name", tool}
		for _, argument := range arguments {
			line = append(line, "--tool-arg", argument)
		}
		out, err := inspect(t, server, line...)
		require.NoError(t, err)
		return string(out)
	}

	notebook := onlyServer(t, startNotebook(t, sandbox, nil, seer.NotebookOptions{}))
	assert.Len(t, inspectTools(t, notebook), 6)
	const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	shown := call(notebook, "execute_code", "code=import base64, IPython\nprint(6 * 7)\nIPython.display.Image(base64.b64decode(\""+picture+"\"))")
	assert.Contains(t, shown, `42\n`)
	assert.Contains(t, shown, `"mimeType": "image/png"`)

	shell := onlyServer(t, startCLI(t, sandbox, nil, nil))
	assert.Contains(t, inspectTools(t, shell)["run_command"].InputSchema.Required, "command")
	assert.Contains(t, call(shell, "run_command", "command=pwd"), `"/workspace\n"`)
}

func TestAManagerWithTheProtocolsInspector(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	inspector(t)
	fake := seertest.NewServer(t)
	id := startOn(t, fake, seer.SandboxConfig{}).SandboxID()
	manager, err := seer.NewManager(t.Context(), &seer.ManagerOptions{Name: "mine"}, seer.WithBackend(fake.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	server := manager.MCPConfig()["mine"]
	tools := inspectTools(t, server)
	assert.Len(t, tools, 7)
	assert.ElementsMatch(t, []string{"sandbox", "command"}, tools["run_command"].InputSchema.Required)
	assert.True(t, tools["terminate_sandbox"].Annotations.DestructiveHint)

	out, err := inspect(t, server, "--method", "tools/call", "--tool-name", "run_command",
		"--tool-arg", "sandbox="+id, "--tool-arg", "command=echo inspected")
	require.NoError(t, err)
	assert.JSONEq(t, `{"content":[{"type":"text","text":"inspected\n"}]}`, string(out))
}
