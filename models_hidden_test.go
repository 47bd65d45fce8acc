package seer_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// addAdapter puts a base model and an adapter of it on the hub.
func (w *hubWorld) addAdapter() {
	w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: modelFiles("acme-labs/Sparrow-7B")})
	w.Add(hubtest.Model{ID: "quokka-org/Sparrow-7B-tuned", Files: map[string][]byte{
		"adapter_config.json":       []byte(`{"peft_type": "LORA", "base_model_name_or_path": "acme-labs/Sparrow-7B"}`),
		"adapter_model.safetensors": bytes.Repeat([]byte("delta"), 100),
		"README.md":                 []byte("# Sparrow 7B, tuned by Quokka\n"),
	}})
}

func TestAdapterBringsItsBase(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	w.addAdapter()
	sandbox := w.start(t, []seer.ModelConfig{
		{Name: "quokka-org/Sparrow-7B-tuned", VarName: "tuned", IsPEFT: true, BaseModel: "acme-labs/Sparrow-7B"},
		{Name: "acme-labs/Sparrow-7B", VarName: "plain"},
	})
	tuned, plain := sandbox.ModelHandles()[0], sandbox.ModelHandles()[1]
	assert.Equal(t, plain.Path, tuned.BasePath, "the base is there once")
	assert.Equal(t, plain.Revision, tuned.BaseRevision)
	out, err := sandbox.Exec(t.Context(), "ls "+tuned.Path+" "+tuned.BasePath)
	require.NoError(t, err)
	assert.Contains(t, out, "adapter_model.safetensors")
	assert.Contains(t, out, "\nmodel.safetensors")

	code, err := sandbox.PreloadModels(t.Context())
	require.NoError(t, err)
	assert.NotContains(t, code, "Sparrow", "the script is the same for all models")
	table, err := sandbox.Exec(t.Context(), "stat -c %a /run/seer/models.json; cat /run/seer/models.json")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(table, "600\n"), table)
	assert.Contains(t, table, fmt.Sprintf("%q", tuned.Path))

	w.Add(hubtest.Model{ID: "acme-labs/Other", Files: modelFiles("acme-labs/Other")})
	_, err = w.sandbox([]seer.ModelConfig{{Name: "quokka-org/Sparrow-7B-tuned", IsPEFT: true, BaseModel: "acme-labs/Other"}}).Start(t.Context())
	require.ErrorContains(t, err, "another base model")
}

func TestHiddenModelIsNotNamedAnywhere(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	w.addTelltales(t)
	var said events
	var log bytes.Buffer
	models := []seer.ModelConfig{{Name: hiddenAdapter, Hidden: true, IsPEFT: true, BaseModel: hiddenBase}}
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sandbox := w.start(t, models, said.option(), seer.WithLogger(logger))
	_, err := sandbox.PreloadModels(t.Context())
	require.NoError(t, err)

	assert.Empty(t, findNames(t, sandbox, hiddenWords))
	assertNamesNothing(t, "events", said.String())
	assertNamesNothing(t, "log", log.String())
	assert.NotEmpty(t, said.of("download hidden model 1", seer.EventDone))
	handle := sandbox.ModelHandles()[0]
	assert.Equal(t, hiddenAdapter, handle.Name, "the owner knows")

	created := w.rpcs("SandboxCreate")
	again := w.start(t, models)
	assert.Equal(t, sandbox.ModelHandles(), again.ModelHandles())
	assert.Equal(t, created+1, w.rpcs("SandboxCreate"), "is cached too")

	_, err = w.sandbox([]seer.ModelConfig{{Name: "vexmoor-labs/No-Such-Quillotar", Hidden: true}}).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrNotFound)
	assertNamesNothing(t, "error", err.Error())
}
