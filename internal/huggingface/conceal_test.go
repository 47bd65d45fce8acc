package huggingface_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// wide is a text in UTF-16 or UTF-32, low byte first, without a mark.
func wide(text string, zeros int) []byte {
	var out []byte
	for _, c := range []byte(text) {
		out = append(append(out, c), make([]byte, zeros)...)
	}
	return out
}

// zipped is a zip file with one member.
func zipped(t *testing.T, name, content string, method uint16) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	member, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	require.NoError(t, err)
	_, err = member.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	return out.Bytes()
}

// A short name is gone from every kind of file, however it is written there,
// or an error says which file it is in.
func TestConcealShortNamesInAnyFile(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{}).Read(noise) //nolint:errcheck // it never fails
	among := func(name []byte) []byte { return slices.Concat(noise, name, noise[:1000]) }
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := writer.Write([]byte("x = 'vexo-1b'"))
	require.NoError(t, errors.Join(err, writer.Close()))
	files := map[string][]byte{
		"weights.bin":             []byte("\x80\x02X\x07\x00\x00\x00Vexo-1bq\x00."),
		"upper.bin":               []byte("\x80\x02X\x07\x00\x00\x00VEXO_1Bq\x00."),
		"far.bin":                 among([]byte("Vexo-1b")),
		"utf16.bin":               among(wide("vexo1B", 1)),
		"utf32.bin":               among(wide("Vexo.1b", 3)),
		"utf16.txt":               slices.Concat([]byte("\xff\xfe"), wide("This is Vexo 1b.", 1)),
		"no-mark.txt":             wide("This is Vexo-1b.", 1),
		"big.txt":                 append([]byte{0}, wide("This is Vexo-1b", 1)...),
		"org.gguf":                []byte("GGUF\x03\x00\x00\x00general.author\x00made by Zun\x00\x01\x02\x80"),
		"data.safetensors":        tensors(t, nil, []byte("\x80\xfeVexo-1b\x80")),
		"stored.zip":              zipped(t, "archive/data.pkl", "Vexo-1b", zip.Store),
		"deflated.pt":             zipped(t, "archive/data.pkl", strings.Repeat("Vexo-1b ", 50), zip.Deflate),
		"member.pt":               zipped(t, "vexo_1b/data.pkl", "x", zip.Deflate),
		"code.py.gz":              packed.Bytes(),
		"nested/checkpoint.ckpt":  []byte("\x93zun/vexo\x00\xff"),
		"tokenizer.json.original": []byte("\xfezun-vexo-1b\xff"),
	}
	dir := t.TempDir()
	for file, data := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o644))
	}
	// One process looks at all of them: what the downloader does to one file.
	const look = `import os, sys
root = sys.argv[1]
concealer = Concealer(["Zun/Vexo-1b"])
concealer.learn([{"model_type": "llama"}])
for directory, _, names in os.walk(root):
    for name in names:
        path = Path(directory) / name
        try:
            concealer.rewrite(path, path.relative_to(root).as_posix())
            concealer.check(path, path.relative_to(root).as_posix())
        except CannotHide as e:
            print(path.relative_to(root).as_posix(), e, sep="\t")
        else:
            print(path.relative_to(root).as_posix(), path.read_bytes()[:200], sep="\t")
`
	program, err := os.ReadFile("conceal.py")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "python3", "-c", string(program)+"\n"+look, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		file, said, _ := strings.Cut(strings.TrimSpace(line), "\t")
		seen[file] = true
		assert.True(t, strings.HasPrefix(said, file+" "), "%s: %s", file, said)
		assert.NotContains(t, strings.ToLower(said), "vexo")
	}
	assert.Len(t, seen, len(files))
}

// What is random is not taken for a name, and safetensors lose theirs.
func TestConcealLeavesRandomWeightsAlone(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 20<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise) //nolint:errcheck // it never fails
	files := map[string][]byte{
		"config.json":       []byte(`{"model_type": "llama"}`),
		"weights.bin":       noise,
		"model.safetensors": tensors(t, map[string]string{"format": "pt", "from": "Zun/Vexo-1b"}, noise[:1<<20]),
	}
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: "Zun/Vexo-1b", Files: files})
	d := newDownload(t, hub, "Zun/Vexo-1b", "")
	d.order.Conceal = []string{"Zun/Vexo-1b"}
	last := d.run()
	require.NoError(t, last.Err(), last.Message)
	assert.NotContains(t, strings.ToLower(string(d.tree()["model.safetensors"][:300])), "vexo")
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
