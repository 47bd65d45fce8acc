package huggingface_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// Each file of testdata/listings is a repository as the hub lists it: a line
// per file with size and path, "+" before those that a default download takes.
func TestSelectTypicalListings(t *testing.T) {
	listings, err := filepath.Glob("testdata/listings/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, listings)
	for _, name := range listings {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, listing := range txtar.Parse(data).Files {
			t.Run(listing.Name, func(t *testing.T) {
				var files []huggingface.File
				var want []string
				for line := range strings.Lines(string(listing.Data)) {
					mark, rest := line[0], strings.TrimSpace(line[1:])
					size, path, ok := strings.Cut(rest, " ")
					require.True(t, ok, line)
					n, err := strconv.ParseInt(size, 10, 64)
					require.NoError(t, err)
					files = append(files, huggingface.File{Path: path, Size: n})
					if mark == '+' {
						want = append(want, path)
					}
				}
				got, err := huggingface.Filter{}.Select(files)
				if want == nil {
					require.ErrorIs(t, err, huggingface.ErrAmbiguous)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, want, paths(got.Files))
				told := paths(got.Files)
				for _, left := range got.LeftOut {
					assert.NotEmpty(t, left.Why, left.Path)
					told = append(told, left.Path)
				}
				assert.ElementsMatch(t, paths(files), told, "every file is either taken or left out for a reason")
				t.Logf("%s: %d of %d MB", listing.Name, huggingface.Bytes(got.Files)>>20, huggingface.Bytes(files)>>20)
			})
		}
	}
}

func TestSelectPatterns(t *testing.T) {
	all := named("README.md", "LICENSE", "config.json", "model.safetensors", "pytorch_model.bin", "q/model.Q4_K_M.gguf", "q/model.Q8_0.gguf", "[x].json", "deep/er/config.json")
	for _, test := range []struct {
		filter huggingface.Filter
		want   string
	}{
		{huggingface.Filter{}, "README.md LICENSE config.json model.safetensors [x].json deep/er/config.json"},
		{huggingface.Filter{NoDocs: true}, "config.json model.safetensors [x].json deep/er/config.json"},
		{huggingface.Filter{Include: []string{"README.md"}, NoDocs: true}, "README.md"},
		{huggingface.Filter{Exclude: []string{"*.safetensors", "*.md", "LICENSE"}}, "config.json pytorch_model.bin [x].json deep/er/config.json"},
		{huggingface.Filter{Include: []string{"*.json"}}, "config.json [x].json deep/er/config.json"},
		{huggingface.Filter{Include: []string{"q/"}, Exclude: []string{"*Q8*"}}, "q/model.Q4_K_M.gguf"},
		{huggingface.Filter{Include: []string{"*.Q[48]_?*"}}, "q/model.Q4_K_M.gguf q/model.Q8_0.gguf"},
		{huggingface.Filter{Include: []string{"*.Q[!8]*"}}, "q/model.Q4_K_M.gguf"},
		{huggingface.Filter{Include: []string{"[[]x[]].json"}}, "[x].json"},
		{huggingface.Filter{Include: []string{"[x"}}, ""},
		{huggingface.Filter{Include: []string{"CONFIG.JSON"}}, ""},
	} {
		t.Run(fmt.Sprint(test.filter), func(t *testing.T) {
			got, err := test.filter.Select(all)
			if test.want == "" {
				require.ErrorIs(t, err, huggingface.ErrFileNotFound)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, strings.Join(paths(got.Files), " "))
		})
	}
}

func TestSelectSaysWhereTheOnlyWeightsAre(t *testing.T) {
	for _, test := range []struct {
		files, patterns string
	}{
		{"config.json checkpoint-500/config.json checkpoint-500/model.safetensors checkpoint-500/optimizer.pt checkpoint-1000/model.safetensors", "checkpoint-500/, checkpoint-1000/"},
		{"README.md runs/first/best.pt logs/model.gguf", "runs/, logs/"},
		{"model_config.yaml sparrow.nemo v1.ckpt openvino/model.xml", "sparrow.nemo, v1.ckpt, openvino/"},
	} {
		files := named(strings.Fields(test.files)...)
		_, err := huggingface.Filter{}.Select(files)
		require.ErrorIs(t, err, huggingface.ErrSetAside, test.files)
		assert.ErrorContains(t, err, ": "+test.patterns)
		for _, pattern := range strings.Split(test.patterns, ", ") {
			got, err := huggingface.Filter{Include: []string{pattern}}.Select(files)
			require.NoError(t, err)
			assert.NotEmpty(t, got.Files)
		}
	}
}

// A repository without weights is whole without them.
func TestSelectTakesWhatHasNoWeights(t *testing.T) {
	for _, test := range []struct {
		files, want string
		exclude     []string
	}{
		{files: "config.json tokenizer.json", want: "config.json tokenizer.json"},
		{files: "tokenizer.json training_args.bin checkpoint-500/optimizer.pt checkpoint-500/model.safetensors.index.json runs/events.out.tfevents.1", want: "tokenizer.json"},
		{files: "openvino_detokenizer.bin openvino_tokenizer.xml tokenizer.json", want: "tokenizer.json"},
		{files: "checkpoint-500/model.safetensors tokenizer.json", exclude: []string{"checkpoint-*"}, want: "tokenizer.json"},
	} {
		got, err := huggingface.Filter{Exclude: test.exclude}.Select(named(strings.Fields(test.files)...))
		require.NoError(t, err, test.files)
		assert.Equal(t, test.want, strings.Join(paths(got.Files), " "))
	}
}

func TestSelectSaysWhy(t *testing.T) {
	got, err := huggingface.Filter{Exclude: []string{"vocab.txt"}, NoDocs: true}.Select(named(
		".gitattributes", "README.md", "config.json", "model.safetensors", "model.fp16.safetensors", "pytorch_model.bin", "tf_model.h5",
		"original/consolidated.00.pth", "checkpoint-5/optimizer.pt", "sparrow.nemo", "vocab.txt"))
	require.NoError(t, err)
	assert.Equal(t, []string{"config.json", "model.safetensors"}, paths(got.Files))
	why := map[string]string{}
	for _, left := range got.LeftOut {
		why[left.Path] = left.Why
	}
	assert.Equal(t, map[string]string{
		".gitattributes":               "git's own",
		"README.md":                    "a document, which could name the hidden model",
		"model.fp16.safetensors":       "the same weights in another precision",
		"pytorch_model.bin":            "the same weights in another format",
		"tf_model.h5":                  "the same weights in another format",
		"original/consolidated.00.pth": "the original checkpoint, beside the converted weights",
		"checkpoint-5/optimizer.pt":    "a trace of the training",
		"sparrow.nemo":                 "for a single program",
		"vocab.txt":                    "the patterns leave it out",
	}, why)
}

// Weights are left out only where the same weights are taken in another form.
func TestSelectDropsOnlyTwins(t *testing.T) {
	for _, extension := range []string{".bin", ".pt", ".pth"} {
		for _, stem := range []string{"projector", "voices/af", "speaker-embeddings", "model_extra", "head.2"} {
			got, err := huggingface.Filter{}.Select(named("model.safetensors", stem+extension))
			require.NoError(t, err)
			assert.Equal(t, []string{"model.safetensors", stem + extension}, paths(got.Files))
			twin := stem + ".safetensors"
			got, err = huggingface.Filter{}.Select(named("model.safetensors", stem+extension, twin))
			require.NoError(t, err)
			assert.Equal(t, []string{"model.safetensors", twin}, paths(got.Files))
		}
	}
}

// Whatever is taken, a model with usual precision is there whole in one format.
func TestSelectKeepsTheUsualPrecision(t *testing.T) {
	for files, want := range map[string]string{
		"pytorch_model.bin model.fp16.safetensors":                       "pytorch_model.bin",
		"model.fp16.safetensors model.bf16.safetensors":                  "model.fp16.safetensors model.bf16.safetensors",
		"model.fp16.safetensors pytorch_model.fp16.bin":                  "model.fp16.safetensors",
		"model-fp16.safetensors model.safetensors model_fp16.bin":        "model.safetensors",
		"m.fp8_e4m3fn.safetensors m-00001-of-00001.safetensors":          "m-00001-of-00001.safetensors",
		"pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin":  "pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin",
		"pytorch_model.bin.index.json model.safetensors":                 "model.safetensors",
		"model.safetensors.index.json model-00001-of-00001.safetensors":  "model.safetensors.index.json model-00001-of-00001.safetensors",
		"model.safetensors.index.fp16.json model.safetensors model.onnx": "model.safetensors",
	} {
		got, err := huggingface.Filter{}.Select(named(strings.Fields(files)...))
		require.NoError(t, err, files)
		assert.Equal(t, want, strings.Join(paths(got.Files), " "))
	}
}

func TestSelectRefusesWhatIsNoModel(t *testing.T) {
	for _, files := range []string{"", ".gitattributes", ".gitattributes README.md LICENSE.txt"} {
		_, err := huggingface.Filter{}.Select(named(strings.Fields(files)...))
		require.ErrorIs(t, err, huggingface.ErrEmpty, files)
	}
	_, err := huggingface.Filter{}.Select(named("config.json", "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"))
	require.ErrorIs(t, err, huggingface.ErrIncomplete)
	assert.ErrorContains(t, err, "model-00002-of-00003.safetensors")
	_, err = huggingface.Filter{Include: []string{"*00003*"}}.Select(named("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"))
	assert.NoError(t, err, "a part may be asked for")
}

func named(names ...string) []huggingface.File {
	var files []huggingface.File
	for _, name := range names {
		files = append(files, huggingface.File{Path: name})
	}
	return files
}

func paths(files []huggingface.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return out
}
