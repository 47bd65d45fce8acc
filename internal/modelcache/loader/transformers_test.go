package loader_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/modelcache/loader"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// Tiny real models, one base and two adapters, are put on a hub, downloaded as
// hidden models, loaded by the script, and generate tokens.
//
// SEER_TEST_TRANSFORMERS=1 installs torch, transformers and peft first (some
// gigabytes); a path instead of 1 is an interpreter that has them.
func TestLoadsRealModels(t *testing.T) {
	python := os.Getenv("SEER_TEST_TRANSFORMERS")
	switch python {
	case "":
		t.Skip("SEER_TEST_TRANSFORMERS is not set: torch and transformers are large")
	case "1":
		python = venvtest.Python(t, "torch", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0")
	}
	built := t.TempDir()
	run(t, python, nil, "testdata/build.py", built)

	hub := hubtest.NewServer(t)
	paths := map[string]string{}
	for name, id := range map[string]string{"base": "acme-labs/Sparrow-7B", "tuned-a": "acme-labs/Sparrow-7B-tuned-a", "tuned-b": "acme-labs/Sparrow-7B-tuned-b"} {
		hub.Add(hubtest.Model{ID: id, Files: readAll(t, filepath.Join(built, name))})
		paths[name] = download(t, hub, id)
	}

	table, err := loader.Table([]loader.Model{
		{Path: paths["base"]},
		{Var: "tuned_a", Path: paths["base"], Adapter: paths["tuned-a"]},
		{Var: "tuned_b", Path: paths["base"], Adapter: paths["tuned-b"]},
		{Var: "as_peft", Path: paths["base"], AsPEFT: true},
	})
	require.NoError(t, err)
	script := filepath.Join(t.TempDir(), "loader.py")
	require.NoError(t, os.WriteFile(script, []byte(loader.Script()), 0o600))
	out := run(t, python, table, "testdata/check.py", script)
	assert.Contains(t, out, "generated:")
	t.Log(out)
}

// download fetches a hidden model with the real downloader.
func download(t *testing.T, hub *hubtest.Server, id string) string {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &huggingface.Client{Endpoint: hub.URL, HTTPClient: &http.Client{Transport: transport}}
	repo, err := client.Resolve(t.Context(), id, "")
	require.NoError(t, err)
	files, err := huggingface.Filter{NoDocs: true}.Select(repo.Files)
	require.NoError(t, err)
	root := t.TempDir()
	order, err := huggingface.Order{
		Endpoint: hub.URL, Repo: id, Commit: repo.Commit, Volume: "v", Root: root, Files: files.Files,
		Conceal: []string{id, "acme-labs/Sparrow-7B"},
	}.Line()
	require.NoError(t, err)
	run(t, venvtest.Python(t, huggingface.DownloaderPackages()...), order, huggingface.Downloader()[1:]...)
	return root
}

func run(t *testing.T, python string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "SEER_MODEL_TABLE=-")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func readAll(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = data
	}
	return files
}
