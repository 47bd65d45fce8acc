package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestExample(t *testing.T) {
	hub := hubtest.NewServer(t)
	commit := hub.Add(hubtest.Model{ID: "acme-labs/tiny", Files: map[string][]byte{
		"config.json":       []byte(`{"model_type": "gpt2"}`),
		"model.safetensors": []byte("weights"),
	}})
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_TOKEN", "")
	server := seertest.NewServer(t, seertest.AllowHost(strings.TrimPrefix(hub.URL, "http://"), strings.TrimPrefix(hub.CDNURL, "http://")))
	config := seer.SandboxConfig{Models: []seer.ModelConfig{{Name: "acme-labs/tiny"}}}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, config, seer.WithBackend(server.Backend())))
	assert.Equal(t, 2, strings.Count(out.String(), "model at commit "+commit+" is in /models/acme-labs--tiny\n"), out.String())
	assert.Equal(t, 2, strings.Count(out.String(), "model.safetensors"), out.String())
	assert.EqualValues(t, len("weights")+len(`{"model_type": "gpt2"}`), hub.Served(), "downloaded once")
}
