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
				assert.Equal(t, want, paths(got))
				t.Logf("%s: %d of %d MB", listing.Name, huggingface.Bytes(got)>>20, huggingface.Bytes(files)>>20)
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
			assert.Equal(t, test.want, strings.Join(paths(got), " "))
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
			assert.NotEmpty(t, got)
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
		assert.Equal(t, test.want, strings.Join(paths(got), " "))
	}
}

func TestSelectRefusesWhatCannotBeFetched(t *testing.T) {
	files := []huggingface.File{{Path: "all.safetensors", Size: 50e9 + 1}, {Path: "model.safetensors", Size: 50e9}}
	_, err := huggingface.Filter{}.Select(files)
	require.ErrorIs(t, err, huggingface.ErrTooLarge)
	assert.ErrorContains(t, err, "all.safetensors")
	got, err := huggingface.Filter{Exclude: []string{"all*"}}.Select(files)
	require.NoError(t, err)
	assert.Len(t, got, 1)
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
