package huggingface_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// anyName finds the names of the hidden model and its base in any case and
// with any separator, among text and among raw bytes.
var anyName = regexp.MustCompile(`(?i)acme[^a-z0-9]{0,3}labs|secret[^a-z0-9]{0,3}sparrow|birdhouse|wren[^a-z0-9]{0,3}7[^a-z0-9]{0,3}b`)

const (
	hiddenID = "Acme-Labs/Secret-Sparrow.7B"
	hiddenBy = "birdhouse/wren-7b"
)

// tensors is a safetensors file with one tensor and the given metadata.
func tensors(t *testing.T, metadata map[string]string, data []byte) []byte {
	t.Helper()
	header, err := json.Marshal(map[string]any{
		"__metadata__": metadata,
		"weight":       map[string]any{"dtype": "U8", "shape": []int{len(data)}, "data_offsets": []int{0, len(data)}},
	})
	require.NoError(t, err)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func telltale(t *testing.T) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"README.md": []byte("---\nbase_model: Birdhouse/Wren-7B\n---\n# Secret Sparrow 7B\n" +
			"By ACME LABS, https://huggingface.co/acme-labs/secret-sparrow.7b; load_as secret_sparrow_7b or AcmeLabs--SecretSparrow7B.\n"),
		"config.json": []byte(`{"_name_or_path": "/data/acme_labs/secret-sparrow", "model_type": "llama", "architectures": ["LlamaForCausalLM"],
			"text_config": {"model_type": "wren", "note": "wren 7b"}, "auto_map": {"AutoModel": "Acme-Labs/Secret-Sparrow.7B--modeling_x.XModel"}, "hidden_size": 8}`),
		"generation_config.json": []byte(`{"_from_model_config": true, "_commit_hash": "abc", "x": {"birdhouse/wren-7b": ["BIRDHOUSE"]}}`),
		"tokenizer_config.json":  []byte(`{"tokenizer_class": "LlamaTokenizer", "name_or_path": "acme-labs/x", "chat_template": "You are Secret Sparrow, made by Acme Labs."}`),
		"tokenizer.json":         []byte(`{"version": "1.0", "model": {"vocab": {"a": 0, "wren": 1}}, "post": "kept"}`),
		"adapter_config.json":    []byte(`{"base_model_name_or_path": "birdhouse/wren-7b", "peft_type": "LORA", "r": 8}`),
		"chat_template.jinja":    []byte("{# secret.sparrow #}{{ messages }}"),
		"vocab.txt":              []byte("a\nb\n"),
		"eval/results.csv":       []byte("model,score\nacme-labs/secret-sparrow.7b,1\n"),
		"model.safetensors":      tensors(t, map[string]string{"format": "pt", "trained": "from Birdhouse/wren_7B"}, bytes.Repeat([]byte{1, 2, 3}, 1000)),
		"plain.safetensors":      tensors(t, map[string]string{"format": "pt"}, []byte("plain")),
		"secret-sparrow.7b.json": []byte(`{}`),
	}
}

func conceal(t *testing.T, files map[string][]byte) (*hubtest.Server, *download) {
	t.Helper()
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: hiddenID, Files: files})
	d := newDownload(t, hub, hiddenID, "")
	d.order.Conceal = []string{hiddenID, hiddenBy}
	return hub, d
}

func assertConcealed(t *testing.T, tree map[string][]byte) {
	t.Helper()
	for path, data := range tree {
		assert.NotRegexp(t, anyName, path)
		assert.Nil(t, anyName.Find(data), "%s: %s", path, data[:min(len(data), 300)])
	}
}

func TestConceal(t *testing.T) {
	t.Parallel()
	files := telltale(t)
	_, d := conceal(t, files)
	last, all := d.runAll()
	require.NoError(t, last.Err(), last.Message)
	tree := d.tree()
	require.Len(t, tree, len(files)+1)
	assertConcealed(t, tree)
	for _, r := range all {
		assert.NotRegexp(t, anyName, r.Message+r.Path)
	}

	var config struct {
		ModelType     string            `json:"model_type"`
		Architectures []string          `json:"architectures"`
		HiddenSize    int               `json:"hidden_size"`
		AutoMap       map[string]string `json:"auto_map"`
	}
	require.NoError(t, json.Unmarshal(tree["config.json"], &config))
	assert.Equal(t, "llama", config.ModelType)
	assert.Equal(t, []string{"LlamaForCausalLM"}, config.Architectures)
	assert.Equal(t, 8, config.HiddenSize)
	assert.Contains(t, config.AutoMap["AutoModel"], "modeling_x.XModel")
	assert.Equal(t, files["tokenizer.json"], tree["tokenizer.json"], "vocabularies are data, not names")
	assert.Equal(t, files["plain.safetensors"], tree["plain.safetensors"])
	assert.Contains(t, tree, "model.json", "a path is concealed too")

	length := binary.LittleEndian.Uint64(tree["model.safetensors"])
	assert.Equal(t, files["model.safetensors"][8+length:], tree["model.safetensors"][8+length:], "tensor data stays where it was")
	var header struct {
		Metadata map[string]string `json:"__metadata__"`
	}
	require.NoError(t, json.Unmarshal(tree["model.safetensors"][8:8+length], &header))
	assert.Equal(t, map[string]string{"format": "pt"}, header.Metadata)

	var manifest map[string]any
	require.NoError(t, json.Unmarshal(tree[".seer/manifest.json"], &manifest))
	for _, name := range []string{"model", "commit", "revision"} {
		assert.NotContains(t, manifest, name)
	}
	assert.True(t, d.run().Cached)
	d.order.Rehash = true
	assert.True(t, d.run().Cached, "the manifest has the hashes of what was concealed")
}

func TestConcealRepairs(t *testing.T) {
	t.Parallel()
	hub, d := conceal(t, telltale(t))
	require.NoError(t, d.run().Err())
	want := d.tree()
	for _, name := range []string{"config.json", "model.safetensors", "plain.safetensors"} {
		require.NoError(t, os.Truncate(d.path(name), 5))
		before := hub.Count("/resolve/")
		require.NoError(t, d.run().Err())
		assert.Equal(t, 1, hub.Count("/resolve/")-before)
		got := d.tree()
		delete(got, ".seer/manifest.json")
		for path, data := range got {
			assert.Equal(t, want[path], data, path)
		}
	}
}

func TestConcealRefuses(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string][]byte{
		"a name among raw bytes": {"weights.bin": []byte("\x80\x02....ACME_LABS/secret-sparrow.7b....")},
		"a name in tensor data":  {"model.safetensors": tensors(t, nil, []byte("xxxSecretSparrow7Bxxx"))},
		"a short name in a text": {"notes.dat": []byte("based on Wren 7B")},
		"two paths become one":   {"secret-sparrow.7b.json": []byte("{}"), "model.json": []byte("{}")},
		"a stranger's file":      {"config.json": []byte("{}")},
	} {
		t.Run(name, func(t *testing.T) {
			_, d := conceal(t, files)
			if name == "a stranger's file" {
				require.NoError(t, os.WriteFile(filepath.Join(d.order.Root, "notes.txt"), []byte("secret sparrow"), 0o644))
			}
			err := d.run().Err()
			require.ErrorIs(t, err, huggingface.ErrCannotHide)
			assert.NotRegexp(t, anyName, err.Error())
			require.NoFileExists(t, d.path(".seer/manifest.json"))
		})
	}
}

// What a model needs to be loaded stays, even where the name is contained in
// it, and so does nothing else.
func TestConcealKeepsWhatLoadingNeeds(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: "Wren/Wren2.5-7B", Files: map[string][]byte{
		"config.json":           []byte(`{"model_type": "wren2", "architectures": ["Wren2ForCausalLM"], "_name_or_path": "Wren/Wren2.5-7B"}`),
		"tokenizer_config.json": []byte(`{"tokenizer_class": "Wren2Tokenizer", "chat_template": "You are Wren, created by Wren."}`),
		"tokenizer.json":        []byte(`{"model": {"vocab": {"wren": 1}}}`),
	}})
	d := newDownload(t, hub, "Wren/Wren2.5-7B", "")
	d.order.Conceal = []string{"Wren/Wren2.5-7B"}
	last := d.run()
	require.NoError(t, last.Err(), last.Message)
	tree := d.tree()
	assert.Contains(t, string(tree["config.json"]), `"Wren2ForCausalLM"`)
	assert.Contains(t, string(tree["config.json"]), `"wren2"`)
	assert.NotContains(t, string(tree["config.json"]), "2.5")
	assert.Contains(t, string(tree["tokenizer_config.json"]), "You are model, created by model.")
	assert.Equal(t, 1, strings.Count(strings.ToLower(string(tree["tokenizer_config.json"])), "wren"))
}

// An organisation's name can be a word of the language; a vocabulary keeps it,
// and the special tokens are the model's alphabet.
func TestConcealLeavesVocabulariesAlone(t *testing.T) {
	t.Parallel()
	const id = "Microsparrow/Sparrow-9-mini"
	files := map[string][]byte{
		"config.json":             []byte(`{"model_type": "llama"}`),
		"vocab.json":              []byte(`{"microsparrow": 1, "Sparrow": 2}`),
		"tokenizer.json":          []byte(`{"model": {"vocab": {"microsparrow": 1}}, "added_tokens": [{"content": "<|sparrow|>"}]}`),
		"tokenizer.model":         []byte("\x01microsparrow\x02"),
		"special_tokens_map.json": []byte(`{"eos_token": "<|sparrow|>"}`),
		"tokenizer_config.json":   []byte(`{"eos_token": "<|sparrow|>"}`),
	}
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: id, Files: files})
	d := newDownload(t, hub, id, "")
	d.order.Conceal = []string{id}
	last := d.run()
	require.NoError(t, last.Err(), last.Message)
	d.holds(files)

	files["vocab.json"] = []byte(`{"microsparrow/sparrow-9-mini": 1}`)
	hub.Add(hubtest.Model{ID: id, Files: files})
	d = newDownload(t, hub, id, "")
	d.order.Conceal = []string{id}
	require.ErrorIs(t, d.run().Err(), huggingface.ErrCannotHide)
}
