package seer_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// wireRPCs are those whose requests are compared; the rest only moves bytes.
var wireRPCs = []string{"AppGetOrCreate", "ImageGetOrCreate", "SecretGetOrCreate", "VolumeGetOrCreate", "SandboxCreate", "SandboxTagsSet", "TaskExecStart"}

// TestWire compares what Start asks of Modal, request by request, with golden
// files that were reviewed against Modal's protocol.
func TestWire(t *testing.T) {
	for name, config := range map[string]seer.SandboxConfig{
		"zero": {},
		"gpu":  {GPU: "A100-80GB", GPUCount: 2, CPU: 4, MemoryMiB: 32 << 10, Regions: []string{"us-east"}},
		"packages": {
			PythonVersion: "3.12", PythonPackages: []string{"torch>=2.4", "transformers[torch]; python_version<'4'"},
			SystemPackages: []string{"jq", "ffmpeg=7:5.1.6-0"}, SetupCommands: []string{`echo "it's $HOME"`},
		},
		"network":     {CIDRAllowlist: []string{"203.0.113.0/24"}, EncryptedPorts: []int{9000}, JupyterPort: 7777},
		"blocked":     {BlockNetwork: true},
		"lifetime":    {Timeout: 2 * time.Hour, MaxLifetime: 90 * time.Minute, IdleTimeout: 10 * time.Minute, Tags: map[string]string{"team": "red"}},
		"environment": {Env: map[string]string{"A": "1"}, Secrets: []string{"SEER_TEST_WIRE_SECRET"}},
		"files": {
			LocalFiles: []seer.Mount{{Source: "testdata/config/full.yaml", Target: "/workspace/file"}},
			LocalDirs:  []seer.Mount{{Source: "testdata/config", Target: "/workspace/config"}},
		},
		"repo": {Repos: []seer.RepoConfig{{URL: "org/repo", Branch: "dev", Install: "pip install -e ."}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SEER_TEST_WIRE_SECRET", "hidden")
			server := seertest.NewServer(t, seertest.WithoutLeases())
			server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
			startOn(t, server, config)
			golden(t, filepath.Join("testdata", "wire", name+".txtar"), wireOf(t, server.Calls()))
		})
	}
}

// wireOf is the requests in an order that does not depend on what runs side by side.
func wireOf(t *testing.T, calls []seertest.Call) map[string]string {
	t.Helper()
	byRPC := map[string][]string{}
	for _, call := range calls {
		if slices.Contains(wireRPCs, call.RPC) {
			byRPC[call.RPC] = append(byRPC[call.RPC], stable(t, call.Request))
		}
	}
	requests := map[string]string{}
	for rpc, list := range byRPC {
		requests[rpc] = strings.Join(list, "")
	}
	return requests
}

var changing = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`"(ap|im|st|sb|ta|vo)-[0-9A-Za-z]+"`), `"$1-ID"`},
	{regexp.MustCompile(`"seer-[0-9a-z]{26}"`), `"seer-RANDOM"`},
	{regexp.MustCompile(`"execId": "[^"]+"`), `"execId": "RANDOM"`},
	{regexp.MustCompile(`SEER_EXEC=[0-9A-Z]+`), `SEER_EXEC=RANDOM`},
	{regexp.MustCompile(`"(?:# |(?:\\"){3})(?:[^"\\]|\\.)*"`), `"(a constant script)"`},
	{regexp.MustCompile(`("tagName": "(?:owner|program|created|lease|config)",\s+"tagValue": )"[^"]*"`), `$1"CHANGES"`},
	{regexp.MustCompile(`("tagName": "seer[.-][a-z]+",\s+"tagValue": )"[^"]*"`), `$1"CHANGES"`},
}

func stable(t *testing.T, request string) string {
	t.Helper()
	if request == "" {
		return "(may hold secrets)\n"
	}
	var out bytes.Buffer
	require.NoError(t, json.Indent(&out, []byte(request), "", "  "))
	text := out.String()
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.by)
	}
	return text + "\n"
}

func golden(t *testing.T, path string, got map[string]string) {
	t.Helper()
	archive := &txtar.Archive{}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(got[name])})
	}
	if *update {
		require.NoError(t, os.WriteFile(path, txtar.Format(archive), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update")
	assert.Equal(t, string(want), string(txtar.Format(archive)))
}
