package seer_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// startManager serves a manager and connects an agent to it, by its config alone.
func startManager(t *testing.T, server *seertest.Server, opts *seer.ManagerOptions, with ...seer.Option) (*seer.Manager, *mcp.ClientSession) {
	t.Helper()
	manager, err := seer.NewManager(t.Context(), opts, append(with, seer.WithBackend(server.Backend()))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	config := manager.MCPConfig()
	require.Len(t, config, 1)
	for _, server := range config {
		return manager, agent(t, server, nil)
	}
	return nil, nil
}

// ask calls a tool that succeeds.
func ask(t *testing.T, agent *mcp.ClientSession, tool string, arguments map[string]any) string {
	t.Helper()
	result := call(t, agent, tool, arguments)
	text := words(t, result)
	require.False(t, result.IsError, "%s: %s", tool, text)
	return text
}

// refused calls a tool that fails.
func refused(t *testing.T, agent *mcp.ClientSession, tool string, arguments map[string]any) string {
	t.Helper()
	result := call(t, agent, tool, arguments)
	text := words(t, result)
	require.True(t, result.IsError, "%s: %s", tool, text)
	return text
}

func TestAnAgentManagesSandboxes(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	config := seer.SandboxConfig{Tags: map[string]string{"team": "red"}, EncryptedPorts: []int{9000}, Timeout: 5 * time.Hour, MaxLifetime: 2 * time.Hour}
	sandbox := startOn(t, server, config)
	other := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "blue"}})
	_, agent := startManager(t, server, nil)
	id := sandbox.SandboxID()

	var listed []map[string]any
	require.NoError(t, json.Unmarshal([]byte(ask(t, agent, "list_sandboxes", nil)), &listed))
	require.Len(t, listed, 2)
	assert.Equal(t, other.SandboxID(), listed[0]["id"])
	assert.Equal(t, seer.CurrentOwner(), listed[0]["owner"])
	assert.Equal(t, "5m", listed[0]["lease"])
	narrowed := ask(t, agent, "list_sandboxes", map[string]any{"tags": map[string]string{"team": "red"}})
	assert.Contains(t, narrowed, id)
	assert.NotContains(t, narrowed, other.SandboxID())
	assert.Equal(t, "None is running.", ask(t, agent, "list_sandboxes", map[string]any{"program": "no-such"}))

	var details struct {
		ID, Backend, Hardware, Timeout string
		CreatedAt                      time.Time `json:"created_at"`
		EndsAt                         time.Time `json:"ends_at"`
		Ports                          map[int]string
	}
	require.NoError(t, json.Unmarshal([]byte(ask(t, agent, "sandbox_info", map[string]any{"sandbox": id})), &details))
	url, err := sandbox.URL(t.Context(), 9000)
	require.NoError(t, err)
	assert.Equal(t, map[int]string{9000: url}, details.Ports)
	assert.Equal(t, []string{id, "local", "CPU", "2h"}, []string{details.ID, details.Backend, details.Hardware, details.Timeout})
	assert.Equal(t, 2*time.Hour, details.EndsAt.Sub(details.CreatedAt))

	assert.Equal(t, "Wrote 8 bytes.", ask(t, agent, "write_file", map[string]any{"sandbox": id, "path": "/srv/deep/note", "content": "it's $1\n"}))
	assert.Equal(t, "it's $1\n", ask(t, agent, "run_command", map[string]any{"sandbox": id, "dir": "/srv/deep", "command": "cat note"}))
	assert.Equal(t, "it's $1\n", ask(t, agent, "read_file", map[string]any{"sandbox": id, "path": "/srv/deep/note"}))
	failed := refused(t, agent, "run_command", map[string]any{"sandbox": id, "command": "echo half; exit 3"})
	assert.Equal(t, "half\n[exit status 3]", failed)
	long := "echo " + strings.Repeat("x", 100_000) + " | wc -c"
	assert.Equal(t, "100001\n", ask(t, agent, "run_command", map[string]any{"sandbox": id, "command": long}))

	var snapshot seer.Snapshot
	require.NoError(t, json.Unmarshal([]byte(ask(t, agent, "snapshot_sandbox", map[string]any{"sandbox": id, "description": "by an agent"})), &snapshot))
	assert.Equal(t, "by an agent", snapshot.Description)
	assert.Equal(t, []int{9000}, snapshot.Config.EncryptedPorts)
	assert.Equal(t, "Ended "+id+".", ask(t, agent, "terminate_sandbox", map[string]any{"sandbox": id}))
	require.ErrorIs(t, sandbox.Wait(within(t, patience)), seer.ErrTerminated)
	assert.Contains(t, refused(t, agent, "run_command", map[string]any{"sandbox": id, "command": "true"}), "none of the running ones")

	restored, err := seer.FromSnapshot(t.Context(), &snapshot, snapshot.Config, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	assert.Equal(t, "it's $1\n", ask(t, agent, "read_file", map[string]any{"sandbox": restored.SandboxID(), "path": "/srv/deep/note"}))
}

func TestAManagerReachesNothingElse(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	elsewhere := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "red"}}, seer.WithAppName("another")).SandboxID()
	blue := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "blue"}}).SandboxID()
	red := startOn(t, server, seer.SandboxConfig{Tags: map[string]string{"team": "red"}}).SandboxID()
	_, agent := startManager(t, server, &seer.ManagerOptions{Filter: seer.Filter{Tags: map[string]string{"team": "red"}}})
	for _, id := range []string{elsewhere, blue, "sb-nosuch", "", "../" + red} {
		for tool, more := range map[string]map[string]any{
			"sandbox_info":      {},
			"run_command":       {"command": "touch /root/reached"},
			"read_file":         {"path": "/etc/passwd"},
			"write_file":        {"path": "/root/reached", "content": ""},
			"snapshot_sandbox":  {},
			"terminate_sandbox": {},
		} {
			more["sandbox"] = id
			assert.Contains(t, refused(t, agent, tool, more), "none of the running ones that can be managed here", "%s of %q", tool, id)
		}
	}
	for query, want := range map[string][]string{"": {red}, "red": {red}, "blue": nil} {
		arguments := map[string]any{}
		if query != "" {
			arguments["tags"] = map[string]string{"team": query}
		}
		text := ask(t, agent, "list_sandboxes", arguments)
		for _, id := range []string{elsewhere, blue, red} {
			assert.Equal(t, len(want) > 0 && id == want[0], strings.Contains(text, id), "tags %q", query)
		}
	}
	for _, id := range []string{blue, elsewhere} {
		sandbox, err := seer.FromID(t.Context(), id, seer.WithBackend(server.Backend()), seer.WithLease(-1))
		require.NoError(t, err)
		_, err = sandbox.ReadFile(t.Context(), "/root/reached")
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NoError(t, sandbox.Close())
	}
}

func TestManagerToolsSayWhatTheyDo(t *testing.T) {
	server := seertest.NewServer(t)
	manager, agent := startManager(t, server, nil)
	effects := map[string]string{}
	for tool, err := range agent.Tools(t.Context(), nil) {
		require.NoError(t, err)
		require.NotNil(t, tool.Annotations)
		require.NotNil(t, tool.Annotations.DestructiveHint)
		switch {
		case tool.Annotations.ReadOnlyHint:
			effects[tool.Name] = "reads"
		case *tool.Annotations.DestructiveHint:
			effects[tool.Name] = "destroys"
		default:
			effects[tool.Name] = "adds"
		}
	}
	assert.Equal(t, map[string]string{
		"list_sandboxes": "reads", "sandbox_info": "reads", "read_file": "reads", "snapshot_sandbox": "adds",
		"run_command": "destroys", "write_file": "destroys", "terminate_sandbox": "destroys",
	}, effects)

	only := manager.MCPConfig()["seer-fleet"]
	response, err := http.Post(only.URL, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.NoError(t, manager.Close(t.Context()))
	assert.Nil(t, manager.MCPConfig())
	require.NoError(t, manager.Close(t.Context()))
}

func TestManagerFiles(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	_, agent := startManager(t, server, nil)
	at := func(path string, more ...any) map[string]any {
		arguments := map[string]any{"sandbox": sandbox.SandboxID(), "path": path}
		for i := 0; i < len(more); i += 2 {
			name, ok := more[i].(string)
			require.True(t, ok)
			arguments[name] = more[i+1]
		}
		return arguments
	}
	// A long text comes in parts, none of which cuts a rune in two.
	text := strings.Repeat("für alle Fälle · ", 15_000)
	require.NoError(t, sandbox.WriteFile(t.Context(), "/srv/long name", []byte(text)))
	var whole strings.Builder
	for offset, parts := 0, 0; offset < len(text); parts++ {
		require.Less(t, parts, 10)
		part, _, _ := strings.Cut(ask(t, agent, "read_file", at("/srv/long name", "offset", offset)), "\n[bytes")
		whole.WriteString(part)
		offset += len(part)
	}
	assert.Equal(t, text, whole.String())
	assert.Contains(t, refused(t, agent, "read_file", at("/srv/long name", "offset", len(text)+1)), "behind its end")
	assert.Contains(t, refused(t, agent, "read_file", at("/srv/long name", "offset", -1)), "negative")

	require.NoError(t, sandbox.WriteFile(t.Context(), "/srv/binary", []byte{0xff, 0xfe, 0}))
	require.NoError(t, sandbox.WriteFile(t.Context(), "/srv/empty", nil))
	assert.Equal(t, "(empty)", ask(t, agent, "read_file", at("/srv/empty")))
	assert.Contains(t, ask(t, agent, "read_file", at("/proc/self/status")), "Name:", "a file without a size")
	for path, want := range map[string]string{
		"/srv/binary":  "not a text file (3 bytes)",
		"/srv":         "is a directory",
		"/dev/zero":    "not a regular file",
		"/srv/missing": "file does not exist",
		"relative":     "not an absolute path",
		"":             "not an absolute path",
	} {
		assert.Contains(t, refused(t, agent, "read_file", at(path)), want)
	}
	assert.Contains(t, refused(t, agent, "write_file", at("relative", "content", "")), "not an absolute path")
	assert.Contains(t, refused(t, agent, "write_file", at("/dev/null/x", "content", "")), "/dev/null")
}

func TestManagerCommandsAreBounded(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	_, agent := startManager(t, server, nil)
	run := func(command string, seconds int) map[string]any {
		return map[string]any{"sandbox": sandbox.SandboxID(), "command": command, "timeout_seconds": seconds}
	}
	flood := ask(t, agent, "run_command", run("echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo end", 0))
	assert.Less(t, len(flood), 100_000)
	assert.True(t, strings.HasPrefix(flood, "begin\n"))
	assert.True(t, strings.HasSuffix(flood, "end\n"))
	assert.Regexp(t, `\[\.\.\. 29\d+ bytes left out \.\.\.\]`, flood)

	late := refused(t, agent, "run_command", run("echo started; sleep 1000", 1))
	assert.Equal(t, "started\n\nerror: run command: timed out after 1s", late)
	assert.Contains(t, refused(t, agent, "run_command", run("true", -1)), "negative")
	assert.Equal(t, "1\n", ask(t, agent, "run_command", run("echo 1", 1<<62)))

	// An agent that gives up ends its command.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := agent.CallTool(ctx, &mcp.CallToolParams{Name: "run_command", Arguments: run("touch /root/started; exec sleep 1234", 0)})
		ended <- err
	}()
	require.Eventually(t, func() bool {
		_, err := sandbox.ReadFile(t.Context(), "/root/started")
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Eventually(t, func() bool {
		out, err := sandbox.Exec(t.Context(), "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
		return err == nil && !strings.Contains(out, "sleep 1234")
	}, time.Minute, 20*time.Millisecond)
}

func TestAManagerLeavesTheLeaseAlone(t *testing.T) {
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	manager, agent := startManager(t, server, nil)
	ask(t, agent, "run_command", map[string]any{"sandbox": sandbox.SandboxID(), "command": "true"})
	require.NoError(t, manager.Close(t.Context()))
	all := list(t, seer.Filter{}, seer.WithBackend(server.Backend()))
	require.Len(t, all, 1)
	assert.False(t, all[0].Detached)
	assert.Equal(t, 5*time.Minute, all[0].Lease)
	_, err := sandbox.Exec(t.Context(), "true")
	require.NoError(t, err)
}

func TestAManagerNeedsABackend(t *testing.T) {
	server := seertest.NewServer(t)
	server.Fail("AppGetOrCreate", seer.ErrUnauthorized, 100)
	_, err := seer.NewManager(t.Context(), nil, seer.WithBackend(server.Backend()))
	require.ErrorContains(t, err, "manage sandboxes")
}

func TestAManagerMakesNoApp(t *testing.T) {
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	_, agent := startManager(t, server, nil, seer.WithAppName("to-come"))
	assert.Equal(t, "None is running.", ask(t, agent, "list_sandboxes", nil))
	assert.Contains(t, refused(t, agent, "terminate_sandbox", map[string]any{"sandbox": sandbox.SandboxID()}), "none of the running ones")
	later := startOn(t, server, seer.SandboxConfig{}, seer.WithAppName("to-come"))
	assert.Contains(t, ask(t, agent, "list_sandboxes", nil), later.SandboxID())
}
