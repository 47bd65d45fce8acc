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

func TestMCPWithTheProtocolsInspector(t *testing.T) {
	program := inspector(t)
	server := onlyServer(t, startLocal(t, nil, nil))
	inspect := func(server seer.MCPServer, arguments ...string) ([]byte, error) {
		arguments = append([]string{"--cli", server.URL, "--transport", "http", "--header", "Authorization: " + server.Headers["Authorization"]}, arguments...)
		cmd := exec.CommandContext(within(t, 2*time.Minute), program, arguments...)
		var out, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaints
		err := cmd.Run()
		if err != nil {
			t.Logf("%s", complaints.Bytes())
		}
		return out.Bytes(), err
	}

	out, err := inspect(server, "--method", "tools/list")
	require.NoError(t, err)
	var list struct {
		Tools []struct {
			Name        string
			InputSchema struct{ Properties map[string]any }
		}
	}
	require.NoError(t, json.Unmarshal(out, &list), "%s", out)
	schemas := map[string]map[string]any{}
	for _, tool := range list.Tools {
		schemas[tool.Name] = tool.InputSchema.Properties
	}
	assert.Contains(t, schemas["run_python"], "code")
	assert.Contains(t, schemas["write_file"], "content")

	out, err = inspect(server, "--method", "tools/call", "--tool-name", "run_python", "--tool-arg", "code=6 * 7")
	require.NoError(t, err)
	assert.JSONEq(t, `{"content":[{"type":"text","text":"42"}]}`, string(out))

	server.Headers["Authorization"] = "Bearer wrong"
	_, err = inspect(server, "--method", "tools/list")
	require.Error(t, err)
}
