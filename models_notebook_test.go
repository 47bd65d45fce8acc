package seer_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
)

// Names that no package or document of an image holds. What they may show up
// as is in hiddenWords, without separators.
const (
	hiddenBase    = "Vexmoor-Labs/Quillotar-7B-it"
	hiddenAdapter = "plonkhaus/Quillotar-7B-tuned.v2"
	hiddenWords   = "vexmoor quillotar plonkhaus tunedv2"
)

// tensors are weights as safetensors keep them, with metadata of their maker.
func tensors(t *testing.T, metadata map[string]string) []byte {
	t.Helper()
	data := bytes.Repeat([]byte{1, 2, 3, 4}, 2000)
	header, err := json.Marshal(map[string]any{
		"__metadata__": metadata,
		"weight":       map[string]any{"dtype": "U8", "shape": []int{len(data)}, "data_offsets": []int{0, len(data)}},
	})
	require.NoError(t, err)
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

// addTelltales puts a model and an adapter on the hub whose files name them
// wherever those of real models do.
func (w *hubWorld) addTelltales(t *testing.T) {
	t.Helper()
	w.Add(hubtest.Model{ID: hiddenBase, Files: map[string][]byte{
		"config.json": []byte(`{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "_name_or_path": "/data/vexmoor_labs/Quillotar 7B"}`),
		"tokenizer_config.json": []byte(`{"name_or_path": "Vexmoor-Labs/Quillotar-7B-it", "model_max_length": 64,
			"chat_template": "You are Quillotar, made by Vexmoor Labs. {{ messages[0].content }}"}`),
		"tokenizer.json":    []byte(`{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}}`),
		"model.safetensors": tensors(t, map[string]string{"format": "pt", "made_by": "VEXMOOR-LABS"}),
		"README.md":         []byte("# Quillotar 7B it\nby Vexmoor Labs\n"),
	}})
	w.Add(hubtest.Model{ID: hiddenAdapter, Files: map[string][]byte{
		"adapter_config.json":       []byte(`{"peft_type": "LORA", "base_model_name_or_path": "Vexmoor-Labs/Quillotar-7B-it", "run": "plonkhaus quillotar_7b"}`),
		"adapter_model.safetensors": tensors(t, map[string]string{"format": "pt", "base": "vexmoor-labs/quillotar.7b.it"}),
		"README.md":                 []byte("---\nbase_model: Vexmoor-Labs/Quillotar-7B-it\n---\nQuillotar, tuned by Plonkhaus\n"),
	}})
}

// findNames searches a sandbox, as its root: paths, files, mounts, command
// lines, environments and memory. It returns a line for each place.
func findNames(t *testing.T, sandbox *seer.Sandbox, words string) string {
	t.Helper()
	script, err := os.ReadFile("testdata/models/find_names.py")
	require.NoError(t, err)
	cmd := sandbox.Command("python", "-c", string(script))
	cmd.Stdin = strings.NewReader(words)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output(within(t, 2*time.Minute))
	require.NoError(t, err, errors.String())
	return string(out)
}

// squeezed is a text without case and separators.
func squeezed(text string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", "/", "", " ", "", "\\", "", "\n", "").Replace(strings.ToLower(text))
}

func assertNamesNothing(t *testing.T, what, text string) {
	t.Helper()
	for word := range strings.FieldsSeq(hiddenWords) {
		assert.NotContains(t, squeezed(text), word, what)
	}
}

// tellAll is what an agent would run to find out which models it has. What no
// variable shows, findNames finds in the kernel's memory.
const tellAll = `
def tell(value, depth=4):
    text = repr(value)[:10000]
    inner = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    if depth and isinstance(inner, dict):
        text += "".join(f"\n{key}: {tell(child, depth - 1)}" for key, child in list(inner.items()))
    return text
for name in [n for n in globals() if n[0] != "_" and n not in ("In", "Out", "tell", "get_ipython", "exit", "quit", "open")]:
    print(name, tell(globals()[name]))
print([line for _, _, line in get_ipython().history_manager.search("*")])
print([line for _, _, line in get_ipython().history_manager.get_range()], In, Out)
`

func TestHiddenModelsInANotebook(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	w := newHubWorld(t)
	w.addTelltales(t)
	config := seer.SandboxConfig{
		Models: []seer.ModelConfig{
			{Name: hiddenBase, Hidden: true},
			{Name: hiddenAdapter, VarName: "tuned", Hidden: true, IsPEFT: true, BaseModel: hiddenBase},
		},
		ExecutionMode:  seer.ModeNotebook,
		PythonPackages: []string{"peft; python_version < '3'"}, // the real one brings all of torch
		LocalDirs:      []seer.Mount{{Source: "testdata/models/standins", Target: "/opt/standins"}},
		Env:            map[string]string{"PYTHONPATH": "/opt/standins"},
	}
	session := huntInNotebook(t, w, config)
	assert.Equal(t, "['AutoModelForCausalLM', 'AutoTokenizer', 'PeftModel', 'AutoModelForCausalLM']",
		text(t, session, "[type(v).__name__ for v in (model, tokenizer, tuned, tuned.base_model)]"))
}

// huntInNotebook starts a sandbox and a notebook in it with the hidden models
// loaded, and looks for their names in all that an agent can see there.
func huntInNotebook(t *testing.T, w *hubWorld, config seer.SandboxConfig) *seer.NotebookSession {
	t.Helper()
	var said events
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sandbox := startOn(t, w.server, config, w.env(), said.option(), seer.WithLogger(logger))
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})

	assertNamesNothing(t, "variables and history", text(t, session, tellAll))
	require.NoError(t, session.Restart(within(t, patience)))
	assertNamesNothing(t, "variables after a restart", text(t, session, tellAll))
	assert.Empty(t, findNames(t, sandbox, hiddenWords))

	var cells strings.Builder
	for _, cell := range session.Cells() {
		cells.WriteString(cell.Source)
		for _, output := range cell.Outputs {
			cells.WriteString(output.Text)
		}
	}
	file, err := os.ReadFile(session.NotebookPath())
	require.NoError(t, err)
	instructions, err := json.Marshal(session.MCPConfig())
	require.NoError(t, err)
	for what, text := range map[string]string{
		"what the agent is told": session.ModelInfoText(), "cells": cells.String(), "the notebook's file": string(file),
		"MCP configuration": string(instructions), "events": said.String(),
	} {
		require.NotEmpty(t, text, what)
		assertNamesNothing(t, what, text)
	}
	assertNamesNothing(t, "log", log.String())

	// The search finds what is there.
	text(t, session, "marked = 'ZEBRA finch'")
	found := findNames(t, sandbox, "zebrafinch llamaforcausallm")
	assert.Contains(t, found, "zebrafinch in the memory of")
	assert.Contains(t, found, "zebrafinch in /workspace/")
	for _, handle := range sandbox.ModelHandles() {
		if !handle.IsPEFT {
			assert.Contains(t, found, "llamaforcausallm in "+handle.Path+"/config.json")
		}
	}
	return session
}
