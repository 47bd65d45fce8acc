package huggingface

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ErrAmbiguous means that a repository offers several weights of which only a
// person can choose one, as quantised variants are.
var ErrAmbiguous = errors.New("several weights to choose from; name one with an include pattern")

// ErrSetAside means that the only weights of a repository are of kinds that
// nobody gets unasked.
var ErrSetAside = errors.New(`the only weights are training checkpoints or files for a single program, which are not taken by default; name them with an include pattern ("checkpoint-500/" is all of a folder)`)

// maxFile is huggingface_hub's own limit, in bytes, without its protocol for
// larger files.
const maxFile = 50e9

// Filter says which files of a repository are wanted. Patterns have the hub's
// meaning: "*" crosses slashes, a trailing slash means everything below.
type Filter struct {
	Include []string // none = the files that loading the model takes, in one weight format
	Exclude []string // taken off whatever Include or the default chose
	NoDocs  bool     // leave out model cards, licences, pictures and code, unless Include names them
}

// Select chooses the files to download. It is an [ErrAmbiguous] when the
// repository holds nothing but several variants of the same weights, an
// [ErrSetAside] when it has weights and the default would take none of them, an
// [ErrFileNotFound] when nothing is left, and an [ErrTooLarge] when the
// downloader could not fetch one of them.
func (f Filter) Select(files []File) ([]File, error) {
	var chosen []File
	if len(f.Include) > 0 {
		chosen = keep(files, func(p string) bool { return match(p, f.Include) && !match(p, f.Exclude) })
	} else {
		candidates := keep(files, func(p string) bool { return !match(p, f.Exclude) && (!f.NoDocs || !isDoc(p)) })
		var err error
		if chosen, err = oneFormat(candidates); err != nil {
			return nil, err
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: the patterns leave nothing to download", ErrFileNotFound)
	}
	for _, f := range chosen {
		if f.Size > maxFile {
			return nil, fmt.Errorf("%w: %s", ErrTooLarge, f.Path)
		}
	}
	return chosen, nil
}

// format is the kind of weights a file holds, best first.
type format int

const (
	safetensors format = iota
	pytorch
	original // what the authors trained with, beside the converted weights
	gguf
	tensorflow
	flax
	onnx
	other  // formats of single programs, never chosen by default
	litter // traces of the training and the like, never chosen
	none   // no weights: configuration, vocabularies, code, documents
)

var trainingFolder = regexp.MustCompile(`^(checkpoint-\d+|runs|logs)/`)

// formats is tried in order: what a file is, the first matching line says.
var formats = []struct {
	pattern *regexp.Regexp
	format  format
}{
	{regexp.MustCompile(`^(.*/)?(\.gitattributes|\.gitignore|training_args\.bin|optimizer\.(pt|bin)|scheduler\.(pt|bin)|rng_state.*\.pth|scaler\.pt|events\.out\.tfevents.*|openvino_(de)?tokenizer\..*)$`), litter},
	{trainingFolder, litter},
	{regexp.MustCompile(`^(coreml|openvino|metal|tensorrt|qnn)/|\.(mlmodel|mlpackage|ckpt|nemo|pdparams|engine|tflite|llamafile|mar|pte)(/|$)|(^|/)openvino_`), other},
	{regexp.MustCompile(`^original/|(^|/)consolidated[^/]*\.(pth|pt|safetensors)$`), original},
	{regexp.MustCompile(`^onnx/|\.onnx(_data[^/]*)?$`), onnx},
	{regexp.MustCompile(`\.gguf$|(^|/)ggml[^/]*\.bin$`), gguf},
	{regexp.MustCompile(`\.h5$|(^|/)tf_model[^/]*$|(^|/)saved_model\.pb$`), tensorflow},
	{regexp.MustCompile(`\.msgpack$|(^|/)flax_model[^/]*$`), flax},
	{regexp.MustCompile(`\.ot$`), other},
	{regexp.MustCompile(`\.safetensors(\.index\.json)?$|\.safetensors\.index\.[^/]+\.json$`), safetensors},
	{regexp.MustCompile(`\.(bin|pt|pth)$|\.bin\.index(\.[^/]+)?\.json$`), pytorch},
}

func formatOf(p string) format {
	for _, f := range formats {
		if f.pattern.MatchString(p) {
			return f.format
		}
	}
	return none
}

// oneFormat keeps the files without weights and, in each directory, the best
// weights there are; the lesser formats count only in a repository that has
// neither safetensors nor PyTorch files.
func oneFormat(files []File) ([]File, error) {
	byDir := map[string]format{} // best of the two usual formats in a directory
	best := other
	for _, f := range files {
		kind := formatOf(f.Path)
		if strings.HasSuffix(f.Path, ".json") {
			continue // an index is no weights
		}
		best = min(best, kind)
		if kind <= pytorch {
			dir := path.Dir(f.Path)
			if had, ok := byDir[dir]; !ok || kind < had {
				byDir[dir] = kind
			}
		}
	}
	var weights []string
	chosen := keep(files, func(p string) bool {
		kind := formatOf(p)
		switch {
		case kind == none:
			return true
		case best <= pytorch:
			return kind <= pytorch && kind == byDir[path.Dir(p)] && !isVariant(p, files)
		case kind == best && kind < other:
			weights = append(weights, p)
			return true
		}
		return false
	})
	if best == other {
		if aside := setAside(files); len(aside) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrSetAside, strings.Join(aside, ", "))
		}
	}
	if best == gguf || best == onnx {
		if variants := distinct(weights); len(variants) > 1 {
			return nil, fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(variants, ", "))
		}
	}
	return chosen, nil
}

// setAside returns include patterns for the weights among files that are not in
// one of the formats to choose from, or that a training left in its folders.
func setAside(files []File) []string {
	var patterns []string
	for _, f := range files {
		inner := trainingFolder.ReplaceAllString(f.Path, "")
		if formatOf(inner) > other || strings.HasSuffix(f.Path, ".json") {
			continue
		}
		pattern := f.Path
		if top, _, below := strings.Cut(f.Path, "/"); below {
			pattern = top + "/"
		}
		if !slices.Contains(patterns, pattern) {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

var (
	variantName  = regexp.MustCompile(`^(.*?)\.(?:fp16|bf16|fp32|non_ema|8bit)(?:-\d+-of-\d+)?\.(safetensors|bin)$`)
	variantIndex = regexp.MustCompile(`^(.*?)\.(safetensors|bin)\.index\.(?:fp16|bf16|fp32)\.json$`)
)

// isVariant reports whether a file belongs to a variant (model.fp16.safetensors)
// of weights that the same directory has in the usual precision.
func isVariant(p string, files []File) bool {
	m := variantName.FindStringSubmatch(p)
	if m == nil {
		m = variantIndex.FindStringSubmatch(p)
	}
	return m != nil && slices.ContainsFunc(files, func(f File) bool {
		return f.Path == m[1]+"."+m[2] || strings.HasPrefix(f.Path, m[1]+"-0") && strings.HasSuffix(f.Path, "."+m[2])
	})
}

var shard = regexp.MustCompile(`-\d{5}-of-\d{5}|_data[^/]*$`)

// distinct returns the paths with the parts of one whole counted once.
func distinct(paths []string) []string {
	var out []string
	for _, p := range paths {
		if whole := shard.ReplaceAllString(p, ""); !slices.Contains(out, whole) {
			out = append(out, whole)
		}
	}
	return out
}

var docs = regexp.MustCompile(`(?i)(^|/)(readme|licen[cs]e|notice|copying|use_policy|acceptable_use|changelog|citation)[^/]*$|\.(md|rst|pdf|png|jpe?g|gif|svg|webp|mp4|ipynb|py)$`)

func isDoc(p string) bool { return docs.MatchString(p) }

func keep(files []File, wanted func(path string) bool) []File {
	var out []File
	for _, f := range files {
		if wanted(f.Path) {
			out = append(out, f)
		}
	}
	return out
}
