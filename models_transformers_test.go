package seer_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// realTransformers is a sandbox with torch, transformers and peft. Its torch is
// Debian's, for the CPU: the one of pip brings gigabytes for GPUs, and so does
// whatever asks pip for it. Hence releases of peft and accelerate without what
// they depend on, and transformers of the years of that torch.
func realTransformers(models ...seer.ModelConfig) seer.SandboxConfig {
	return seer.SandboxConfig{
		Models:         models,
		ExecutionMode:  seer.ModeNotebook,
		SystemPackages: []string{"python3-torch"},
		PythonPackages: []string{"transformers==4.44.2", "numpy<2", "jinja2", "psutil", "peft; python_version < '3'"},
		SetupCommands: []string{
			"pip install --no-deps peft==0.13.2 accelerate==1.1.1",
			`echo /usr/lib/python3/dist-packages >"$(python -c 'import site; print(site.getsitepackages()[0])')/debian.pth"`,
		},
	}
}

// Tiny real models are made in a sandbox, put on a hub, downloaded, and loaded
// by the real libraries in the kernels of other sandboxes.
//
// SEER_TEST_TRANSFORMERS=1 runs it, on Debian 12: it installs half a gigabyte.
func TestRealModelsInNotebooks(t *testing.T) {
	if os.Getenv("SEER_TEST_TRANSFORMERS") == "" {
		t.Skip("SEER_TEST_TRANSFORMERS is not set: torch and transformers are large")
	}
	w := newHubWorld(t)
	w.addRealModels(t)

	sandbox := startOn(t, w.server, realTransformers(
		seer.ModelConfig{Name: hiddenBase},
		seer.ModelConfig{Name: hiddenAdapter, VarName: "tuned", IsPEFT: true, BaseModel: hiddenBase},
		seer.ModelConfig{Name: hiddenBase, VarName: "wrapped", LoadAsPEFT: true},
	), w.env())
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	plain := say(t, session, "model", "tokenizer")
	tuned := say(t, session, "tuned", "tuned_tokenizer")
	wrapped := say(t, session, "wrapped", "wrapped_tokenizer")
	t.Log(text(t, session, "import torch, transformers, peft\nprint(torch.__version__, transformers.__version__, peft.__version__)"))
	assert.Equal(t, "LlamaForCausalLM", plain.Type)
	assert.Equal(t, "PeftModelForCausalLM", tuned.Type)
	assert.Equal(t, "PeftModelForCausalLM", wrapped.Type)
	assert.Equal(t, plain.Logits, wrapped.Logits, "a wrapped model is what it was")
	assert.NotEqual(t, plain.Logits, tuned.Logits, "an adapter changes it")
	assert.Equal(t, "True", text(t, session, "next(model.parameters()).data_ptr() == next(tuned.get_base_model().parameters()).data_ptr()"),
		"the base is in memory once")

	config := realTransformers(
		seer.ModelConfig{Name: hiddenBase, Hidden: true},
		seer.ModelConfig{Name: hiddenAdapter, VarName: "tuned", Hidden: true, IsPEFT: true, BaseModel: hiddenBase},
		seer.ModelConfig{Name: hiddenBase, VarName: "wrapped", Hidden: true, LoadAsPEFT: true},
	)
	hidden := huntInNotebook(t, w, config)
	assert.Equal(t, plain, say(t, hidden, "model", "tokenizer"), "hiding a model changes nothing of what it says")
	assert.Equal(t, tuned, say(t, hidden, "tuned", "tuned_tokenizer"))
	assert.Equal(t, wrapped, say(t, hidden, "wrapped", "wrapped_tokenizer"))
	for _, said := range []saying{plain, tuned, wrapped} {
		assert.Len(t, said.Tokens, 7, "two of the prompt, five more")
		t.Logf("%+v", said)
	}
}

// addRealModels makes a model and an adapter with the real libraries, whose
// files name them.
func (w *hubWorld) addRealModels(t *testing.T) {
	t.Helper()
	script, err := os.ReadFile("internal/modelcache/loader/testdata/build.py")
	require.NoError(t, err)
	sandbox := startOn(t, w.server, realTransformers())
	build := sandbox.Command("python", "-", "/tmp/built")
	build.Stdin = bytes.NewReader(script)
	out, err := build.CombinedOutput(within(t, 5*time.Minute))
	require.NoError(t, err, string(out))

	named := strings.NewReplacer("acme-labs/Sparrow-7B", hiddenBase, "You are Sparrow, made by Acme Labs", "You are Quillotar, made by Vexmoor Labs")
	for directory, id := range map[string]string{"base": hiddenBase, "tuned-a": hiddenAdapter} {
		files := map[string][]byte{}
		built := sandbox.FS(within(t, patience))
		names, err := fs.Glob(built, path.Join("tmp/built", directory, "*"))
		require.NoError(t, err)
		for _, name := range names {
			data, err := fs.ReadFile(built, name)
			require.NoError(t, err)
			if path.Ext(name) != ".safetensors" {
				data = []byte(named.Replace(string(data)))
			}
			files[path.Base(name)] = data
		}
		require.Contains(t, string(files["config.json"])+string(files["adapter_config.json"]), hiddenBase)
		w.Add(hubtest.Model{ID: id, Files: files})
	}
	terminate(t, sandbox)
}

// saying is what a model answers.
type saying struct {
	Type   string
	Logits []float64
	Tokens []int
	Text   string
}

// say lets the model in a variable of a kernel go on with a sentence.
func say(t *testing.T, session *seer.NotebookSession, model, tokenizer string) (said saying) {
	t.Helper()
	answer := text(t, session, strings.NewReplacer("MODEL", model, "TOKENIZER", tokenizer).Replace(`
import json, torch
prompt = TOKENIZER("the sparrow", return_tensors="pt")
with torch.no_grad():
    logits = MODEL(input_ids=prompt.input_ids).logits[0, -1].double().tolist()
tokens = MODEL.generate(input_ids=prompt.input_ids, attention_mask=prompt.attention_mask, max_new_tokens=5, min_new_tokens=5, do_sample=False)[0]
print("said:", json.dumps({"Type": type(MODEL).__name__, "Logits": logits, "Tokens": tokens.tolist(), "Text": TOKENIZER.decode(tokens)}))
`))
	_, answer, found := strings.Cut(answer, "said:")
	require.True(t, found, answer)
	require.NoError(t, json.Unmarshal([]byte(answer), &said), answer)
	return said
}
