package huggingface

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrAmbiguous means that a repository offers several weights of which only a
// person can choose one, as quantised variants are.
var ErrAmbiguous = errors.New("several weights to choose from; name one with an include pattern")

// ErrSetAside means that the only weights of a repository are of kinds that
// nobody gets unasked.
var ErrSetAside = errors.New(`the only weights are training checkpoints or files for a single program, which are not taken by default; name them with an include pattern ("checkpoint-500/" is all of a folder)`)

// ErrEmpty means that a repository holds nothing but documents and git's own files.
var ErrEmpty = errors.New("the repository holds no model yet")

// ErrIncomplete means that a repository lacks a part of its own weights.
var ErrIncomplete = errors.New("the repository lacks a part of its weights")

// Filter says which files of a repository are wanted. Patterns have the hub's
// meaning: "*" crosses slashes, a trailing slash means everything below.
type Filter struct {
	Include []string // none = the files that loading the model takes, in one weight format
	Exclude []string // taken off whatever Include or the default chose
	NoDocs  bool     // leave out model cards, licences, pictures and code, unless Include names them
}

// Selection divides the files of a repository.
type Selection struct {
	Files   []File    // to download, in the repository's order
	LeftOut []LeftOut // all others, in the same order
}

// LeftOut is a file that is not downloaded.
type LeftOut struct {
	Path string `json:"path"`
	Size int64  `json:"size"` // bytes
	Why  string `json:"why"`
}

// Why a file is left out.
const (
	byPattern      = "the patterns leave it out"
	isDocument     = "a document, which could name the hidden model"
	isTraining     = "a trace of the training"
	isExport       = "goes with an export"
	isRepository   = "git's own"
	isOriginal     = "the original checkpoint, beside the converted weights"
	otherFormat    = "the same weights in another format"
	otherPrecision = "the same weights in another precision"
	isForProgram   = "for a single program"
	isPipeline     = "a whole pipeline in one file, beside its parts"
)

// Select chooses the files to download. It is an [ErrAmbiguous] when the
// repository holds nothing but several variants of the same weights, an
// [ErrSetAside] when it has weights and the default would take none of them, an
// [ErrEmpty] when it holds no model at all, an [ErrIncomplete] when one of
// several numbered parts is missing, and an [ErrFileNotFound] when the patterns
// leave nothing.
func (f Filter) Select(files []File) (Selection, error) {
	if isEmpty(files) {
		return Selection{}, ErrEmpty
	}
	var s Selection
	var candidates []File
	for _, file := range files {
		switch {
		case len(f.Include) > 0 && !match(file.Path, f.Include), match(file.Path, f.Exclude):
			s.leaveOut(file, byPattern)
		case len(f.Include) > 0:
			s.Files = append(s.Files, file)
		case f.NoDocs && isDoc(file.Path):
			s.leaveOut(file, isDocument)
		default:
			candidates = append(candidates, file)
		}
	}
	if len(f.Include) == 0 {
		if err := s.takeOneFormat(candidates); err != nil {
			return Selection{}, err
		}
	}
	if len(s.Files) == 0 {
		return Selection{}, fmt.Errorf("%w: the patterns leave nothing to download", ErrFileNotFound)
	}
	slices.SortStableFunc(s.LeftOut, func(a, b LeftOut) int { return strings.Compare(a.Path, b.Path) })
	return s, partsMissing(s.Files, files)
}

func (s *Selection) leaveOut(f File, why string) {
	s.LeftOut = append(s.LeftOut, LeftOut{Path: f.Path, Size: f.Size, Why: why})
}

// takeOneFormat takes the files without weights and, of each weights, one
// format in the usual precision. The lesser formats count only in a repository
// that has neither safetensors nor PyTorch files.
func (s *Selection) takeOneFormat(files []File) error {
	best := bestRole(files)
	sets, pipelines := weightSets(files), pipelineFolders(files)
	var taken []string // weights of the lesser formats
	for _, f := range files {
		role := roleOf(f.Path)
		switch {
		case role == noWeights:
			s.Files = append(s.Files, f)
		case best <= pytorch && role <= pytorch:
			if why := sets.spare(f.Path); why != "" {
				s.leaveOut(f, why)
			} else if pipelines.whole(f.Path) {
				s.leaveOut(f, isPipeline)
			} else {
				s.Files = append(s.Files, f)
			}
		case role == best && role < programFile:
			s.Files = append(s.Files, f)
			taken = append(taken, f.Path)
		default:
			s.leaveOut(f, role.why())
		}
	}
	if best == programFile {
		if aside := setAside(files); len(aside) > 0 {
			return fmt.Errorf("%w: %s", ErrSetAside, strings.Join(aside, ", "))
		}
	}
	if best == gguf || best == onnx {
		if variants := distinct(taken); len(variants) > 1 {
			return fmt.Errorf("%w: %s", ErrAmbiguous, strings.Join(variants, ", "))
		}
	}
	return nil
}

// bestRole is the best format of weights among files; programFile if there is none to choose.
func bestRole(files []File) role {
	best := programFile
	for _, f := range files {
		if !strings.HasSuffix(f.Path, ".json") { // an index is no weights
			best = min(best, roleOf(f.Path))
		}
	}
	return best
}

// setAside returns include patterns for the weights among files that are not in
// one of the formats to choose from, or that a training left in its folders.
func setAside(files []File) []string {
	var patterns []string
	for _, f := range files {
		inner := trainingFolder.ReplaceAllString(f.Path, "$1")
		if roleOf(inner) > programFile || strings.HasSuffix(f.Path, ".json") {
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

// distinct returns the paths with the parts of one whole counted once.
func distinct(paths []string) []string {
	var out []string
	for _, p := range paths {
		if whole := shardOrData.ReplaceAllString(p, ""); !slices.Contains(out, whole) {
			out = append(out, whole)
		}
	}
	return out
}

// partsMissing is an [ErrIncomplete] when a chosen file is one of several
// numbered parts ("-00001-of-00004") of which the repository lacks one.
func partsMissing(chosen, files []File) error {
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f.Path] = true
	}
	checked := map[string]bool{}
	for _, f := range chosen {
		m := part.FindStringSubmatch(f.Path)
		if m == nil || checked[m[1]+m[3]+m[4]] {
			continue
		}
		checked[m[1]+m[3]+m[4]] = true
		for n := 1; n <= number(m[3]); n++ {
			if name := fmt.Sprintf("%s-%05d-of-%s%s", m[1], n, m[3], m[4]); !there[name] {
				return fmt.Errorf("%w: %s", ErrIncomplete, name)
			}
		}
	}
	return nil
}
