package huggingface

import (
	"cmp"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// role is what a file is for: the format of weights, best first, or what never
// is chosen unasked.
type role int

const (
	safetensors role = iota
	pytorch
	original // what the authors trained with, beside the converted weights
	gguf
	tensorflow
	flax
	onnx
	programFile // formats of single programs, never chosen by default
	exportFile  // goes with an export and is no weights
	trainingFile
	repositoryFile
	noWeights // configuration, vocabularies, code, documents
)

func (r role) why() string {
	switch r {
	case original:
		return isOriginal
	case programFile:
		return isForProgram
	case exportFile:
		return isExport
	case trainingFile:
		return isTraining
	case repositoryFile:
		return isRepository
	default:
		return otherFormat
	}
}

// trainingFolder matches what frameworks call the folders in which a training
// keeps its states and logs: transformers, DeepSpeed, Megatron, Lightning,
// accelerate, Weights & Biases, MLflow.
var trainingFolder = regexp.MustCompile(`(^|/)(checkpoint[-_]?\d+|(last|best)[-_]checkpoint|global[-_]?step[-_]?\d+|(step|iter|epoch)[-_]?\d+|optimizer_\d+|pytorch_model_fsdp(_\d+)?|runs|logs|wandb|tensorboard|lightning_logs|mlruns)/`)

// roles is tried in order: what a file is, the first matching line says.
var roles = []struct {
	pattern *regexp.Regexp
	role    role
}{
	{regexp.MustCompile(`(^|/)\.git(attributes|ignore|modules)$`), repositoryFile},
	{regexp.MustCompile(`(^|/)(training_args\.bin|trainer_state\.json|optimizer([._-][^/]*)?\.(pt|pth|bin|safetensors|msgpack|pkl|ckpt|h5|npz)|scheduler\.(pt|bin)|scaler\.pt|(rng_state|random_states)[^/]*\.(pth|pt|pkl)|events\.out\.tfevents[^/]*|[^/]*(optim|model)_states\.pt|[^/]*\.distcp)$`), trainingFile},
	{trainingFolder, trainingFile},
	{regexp.MustCompile(`(^|/)openvino_(de)?tokenizer\..*$`), exportFile},
	{regexp.MustCompile(`^(coreml|openvino|metal|tensorrt|qnn)/|\.(mlmodel|mlpackage|ckpt|nemo|pdparams|engine|tflite|llamafile|mar|pte|ot|ort|mnn|rknn)(/|$)|(^|/)openvino_`), programFile},
	{regexp.MustCompile(`^original/|(^|/)consolidated[^/]*\.(pth|pt|safetensors)(\.index\.json)?$`), original},
	{regexp.MustCompile(`^onnx/|\.onnx([._]data[^/]*)?$`), onnx},
	{regexp.MustCompile(`\.gguf$|(^|/)ggml[^/]*\.bin$`), gguf},
	{regexp.MustCompile(`\.(h5|keras)$|(^|/)tf_model[^/]*$|(^|/)(saved_model|keras_metadata|fingerprint)\.pb$|(^|/)variables/variables\.[^/]+$`), tensorflow},
	{regexp.MustCompile(`\.msgpack$|(^|/)flax_model[^/]*$`), flax},
	{regexp.MustCompile(`\.safetensors(\.index(\.[^/.]+)?\.json)?$`), safetensors},
	{regexp.MustCompile(`\.(bin|pt|pth)$|\.bin\.index(\.[^/]+)?\.json$`), pytorch},
}

func roleOf(p string) role {
	for _, r := range roles {
		if r.pattern.MatchString(p) {
			return r.role
		}
	}
	return noWeights
}

var (
	part        = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(\.[^/]*)$`)
	shardOrData = regexp.MustCompile(`-\d{5}-of-\d{5}|[._]data[^/]*$`)

	// precisionFolder takes a folder for one precision off the folder that it lies in.
	precisionFolder = regexp.MustCompile(`^(.*/)?(fp16|bf16|fp32|fp8|float16|bfloat16|int8|int4|8bit|4bit)/$`)
	// weightsName takes the name of a file with weights, or of an index of some, apart.
	weightsName = regexp.MustCompile(`^(.*?)(?:[._-](fp16|bf16|fp32|f16|f32|fp8[a-z0-9_]*|float16|bfloat16|float32|half|non_ema|8bit|4bit|int8|int4))?(?:-\d{5}-of-\d{5})?(?:\.(fp16|bf16|fp32|non_ema))?\.(?:safetensors|bin|pt|pth)(?:\.index(?:\.(\w+))?\.json)?$`)
)

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // five digits
	return n
}

// weightSet is where weights lie and what they are called without what tells
// format, precision and part: model.fp16.safetensors, model-00001-of-00002.safetensors
// and pytorch_model.bin are of one set.
type weightSet struct{ dir, stem string }

// setOf also tells the precision that the name of a file claims; "" = the usual one.
func setOf(p string) (set weightSet, precision string) {
	dir, name := path.Split(p)
	folder := ""
	if m := precisionFolder.FindStringSubmatch(dir); m != nil {
		dir, folder = m[1], m[2]
	}
	m := weightsName.FindStringSubmatch(name)
	if m == nil {
		return weightSet{dir, name}, folder
	}
	return weightSet{dir, strings.Replace(m[1], "pytorch_model", "model", 1)}, cmp.Or(m[2], m[3], m[4], folder)
}

// formatsOfSets says in which precisions and formats there are weights.
type formatsOfSets map[weightSet]map[string]role

func weightSets(files []File) formatsOfSets {
	sets := formatsOfSets{}
	for _, f := range files {
		r := roleOf(f.Path)
		if r > pytorch || strings.HasSuffix(f.Path, ".json") {
			continue
		}
		set, precision := setOf(f.Path)
		if sets[set] == nil {
			sets[set] = map[string]role{}
		}
		if had, ok := sets[set][precision]; !ok || r < had {
			sets[set][precision] = r
		}
	}
	return sets
}

// spare says why a file in one of the two usual formats is not needed; "" = it is.
func (s formatsOfSets) spare(p string) string {
	set, precision := setOf(p)
	formats := s[set]
	if _, usual := formats[""]; usual && precision != "" {
		return otherPrecision
	}
	if best, ok := formats[precision]; ok && best < roleOf(p) {
		return otherFormat
	}
	return ""
}

// pipelines are the folders that hold a pipeline of diffusers in parts.
type pipelines map[string]bool

// partFolder matches weights in a part that every pipeline of images or video has.
var partFolder = regexp.MustCompile(`^(.*/)?(unet|transformer)/[^/]+$`)

func pipelineFolders(files []File) pipelines {
	declared, found := map[string]bool{}, pipelines{}
	for _, f := range files {
		if dir, name := path.Split(f.Path); name == "model_index.json" {
			declared[dir] = true
		}
	}
	for _, f := range files {
		if roleOf(f.Path) > pytorch {
			continue
		}
		if m := partFolder.FindStringSubmatch(f.Path); m != nil {
			found[m[1]] = true
		}
		dir, _ := path.Split(f.Path)
		if parent, _ := path.Split(strings.TrimSuffix(dir, "/")); dir != "" && declared[parent] {
			found[parent] = true
		}
	}
	return found
}

// whole reports whether a file with weights lies beside the parts of a
// pipeline, which are loaded instead. Adapters for it are no pipeline.
func (folders pipelines) whole(p string) bool {
	dir, name := path.Split(p)
	return folders[dir] && !strings.Contains(strings.ToLower(name), "lora") && !strings.Contains(strings.ToLower(name), "adapter")
}

var (
	emptyDocs = regexp.MustCompile(`(?i)(^|/)(readme|licen[cs]e|notice|copying|use_policy|acceptable_use|changelog|citation)[^/]*$|\.(md|rst)$`)
	docs      = regexp.MustCompile(`(?i)(^|/)(readme|licen[cs]e|notice|copying|use_policy|acceptable_use|changelog|citation)[^/]*$|\.(md|rst|pdf|png|jpe?g|gif|svg|webp|mp4|ipynb|py)$`)
)

// isEmpty reports whether files hold nothing that a program could load.
func isEmpty(files []File) bool {
	for _, f := range files {
		if !emptyDocs.MatchString(f.Path) && roleOf(f.Path) != repositoryFile {
			return false
		}
	}
	return true
}

func isDoc(p string) bool { return docs.MatchString(p) }
