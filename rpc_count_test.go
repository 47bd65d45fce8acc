package seer_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestCallsOfOperations holds down what costs a round trip each, 40 ms on Modal.
func TestCallsOfOperations(t *testing.T) {
	server := quietServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	_, err := sandbox.Exec(t.Context(), "true") // the first one learns where commands go
	require.NoError(t, err)

	dir := t.TempDir()
	for i := range 200 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("data"), 0o644))
	}
	exec := map[string]int{"TaskExecStart": 1, "TaskExecStdioRead": 2, "TaskExecWait": 1}
	withInput := map[string]int{"TaskExecStart": 1, "TaskExecStdioRead": 2, "TaskExecWait": 1, "TaskExecStdinWrite": 1}
	for name, c := range map[string]struct {
		run  func() error
		want map[string]int
	}{
		"Exec":       {func() error { _, err := sandbox.Exec(t.Context(), "echo hi"); return err }, exec},
		"ExecPython": {func() error { _, err := sandbox.ExecPython(t.Context(), "print(1)"); return err }, exec},
		"Env": {func() error {
			command := sandbox.Command("env")
			command.Env = []string{"A=1"}
			return command.Run(t.Context())
		}, withInput},
		"ReadFile":         {func() error { _, err := sandbox.ReadFile(t.Context(), "/a/b/c/d"); return err }, exec},
		"WriteFile":        {func() error { return sandbox.WriteFile(t.Context(), "/a/b/c/d", []byte("data")) }, withInput},
		"EnsureDir":        {func() error { return sandbox.EnsureDir(t.Context(), "/a/b/c") }, exec},
		"Upload 200 files": {func() error { return sandbox.Upload(t.Context(), dir, "/data") }, withInput},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(server.Calls())
			require.NoError(t, c.run())
			assert.Equal(t, c.want, callsByRPC(server.Calls()[before:]))
		})
	}
}

// TestCallsOfStart does the same for Start, without the questions whether the
// sandbox runs yet, of which there are as many as it takes.
func TestCallsOfStart(t *testing.T) {
	dir := t.TempDir()
	files := make([]seer.Mount, 10)
	for i := range files {
		files[i] = seer.Mount{Source: filepath.Join(dir, fmt.Sprint(i)), Target: fmt.Sprintf("/workspace/%d", i)}
		require.NoError(t, os.WriteFile(files[i].Source, []byte("data"), 0o644))
	}
	t.Setenv("SEER_TEST_COUNT_SECRET", "hidden")
	for name, c := range map[string]struct {
		config seer.SandboxConfig
		most   int
	}{
		"zero": {seer.SandboxConfig{}, 6},
		"full": {seer.SandboxConfig{
			PythonPackages: []string{"einops", "numpy", "httpx"},
			SystemPackages: []string{"jq", "ripgrep"},
			SetupCommands:  []string{"true"},
			Env:            map[string]string{"GREETING": "hi"},
			Secrets:        []string{"SEER_TEST_COUNT_SECRET"},
			LocalFiles:     files,
			LocalDirs:      []seer.Mount{{Source: dir, Target: "/workspace/data"}},
			Repos:          []seer.RepoConfig{{URL: "org/one"}, {URL: "org/two"}},
			Tags:           map[string]string{"team": "red"},
		}, 25},
	} {
		t.Run(name, func(t *testing.T) {
			server := quietServer(t)
			startOn(t, server, c.config)
			calls := callsByRPC(server.Calls())
			delete(calls, "SandboxGetTaskId")
			total := 0
			for _, n := range calls {
				total += n
			}
			assert.LessOrEqual(t, total, c.most, "%v", calls)
		})
	}
}

// quietServer plays commands that read their input and print nothing.
func quietServer(t *testing.T) *seertest.Server {
	t.Helper()
	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		_, _ = io.Copy(io.Discard, e.Stdin)
		return seertest.Result{}
	})
	return server
}

func callsByRPC(calls []seertest.Call) map[string]int {
	counts := map[string]int{}
	for _, call := range calls {
		counts[call.RPC]++
	}
	return counts
}
