package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestModelsAreListedAndDeleted keeps house as a person would, and as a script.
func TestModelsAreListedAndDeleted(t *testing.T) {
	hub := hubtest.NewServer(t)
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": make([]byte, 3<<20)}
	commit := hub.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: files})
	hub.Add(hubtest.Model{ID: "acme-labs/Wren-2B", Files: files})
	server := seertest.NewServer(t, seertest.AllowHost(strings.TrimPrefix(hub.URL, "http://"), strings.TrimPrefix(hub.CDNURL, "http://")))
	endpoint := server.Endpoint() // of volumes that are this test's alone
	place := served{env: []string{
		"MODAL_SERVER_URL=" + endpoint.ServerURL, "MODAL_TOKEN_ID=" + endpoint.TokenID, "MODAL_TOKEN_SECRET=" + endpoint.TokenSecret,
		"SEER_HOME=" + t.TempDir(), // the log of uses, which the test and the command share
	}}
	place.use(t)
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_TOKEN", "")
	run := func(args ...string) string {
		t.Helper()
		r := invoke(t, place.env, append([]string{"models"}, args...)...)
		require.Zero(t, r.code, r.stderr)
		return r.stdout
	}
	listed := func(args ...string) (models []seer.CachedModel) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(run(args...)), &models))
		return models
	}
	assert.Equal(t, "[]\n", run("list", "--json"))
	assert.Equal(t, "MODEL  COMMIT  SIZE  LAST USED  VOLUME\n", run("list"))

	began := time.Now().Add(-time.Second)
	config := seer.SandboxConfig{Models: []seer.ModelConfig{
		{Name: "acme-labs/Sparrow-7B"}, {Name: "acme-labs/Wren-2B", VarName: "subject", Hidden: true},
	}}
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(seer.Modal())).Start(t.Context())
	require.NoError(t, err)
	volumes := []string{sandbox.ModelHandles()[1].Volume, sandbox.ModelHandles()[0].Volume}
	require.NoError(t, sandbox.Terminate(t.Context()))

	models := listed("list", "--json")
	require.Len(t, models, 2)
	for i, m := range models {
		assert.Equal(t, volumes[i], m.Volume)
		assert.True(t, m.Complete)
		assert.EqualValues(t, 3<<20+2, m.Bytes)
		assert.True(t, m.LastUsed.After(began))
		assert.False(t, m.Created.IsZero())
	}
	assert.True(t, models[0].Hidden)
	assert.Empty(t, models[0].Name)
	assert.Equal(t, []string{"acme-labs/Sparrow-7B", commit}, []string{models[1].Name, models[1].Commit})
	table := strings.Split(run("list"), "\n")
	assert.Regexp(t, `^\(hidden\) +- +3\.0 MiB +\d+s ago +`+volumes[0]+`$`, table[1])
	assert.Regexp(t, `^acme-labs/Sparrow-7B +`+commit[:12]+` +3\.0 MiB +\d+s ago +`+volumes[1]+`$`, table[2])

	assert.Empty(t, listed("prune", "--json"), "both were used just now")
	assert.Len(t, listed("prune", "--json", "--dry-run", "--unused-for", "0s"), 2)
	assert.Len(t, listed("list", "--json"), 2)
	run("rm", "acme-labs/Sparrow-7B")
	assert.Contains(t, run("prune", "--unused-for", "0s"), volumes[0])
	assert.Equal(t, "[]\n", run("list", "--json"))
	assert.Equal(t, exitNotFound, invoke(t, place.env, "models", "rm", "acme-labs/Sparrow-7B").code)
}
