package seer

// ModelConfig declares a HuggingFace model. It is downloaded once onto a
// volume, verified, and mounted read-only in the sandbox.
type ModelConfig struct {
	// Name is the model's ID on the hub, such as "google/gemma-2-9b". Required.
	Name string `json:"name" yaml:"name"`
	// VarName is the Python variable that holds the model. "" means "model".
	// Every model of a sandbox needs a name of its own.
	VarName string `json:"var_name,omitempty" yaml:"var_name,omitempty"`
	// Hidden keeps the model's identity from the agent: neither its name nor
	// its base's is found anywhere in the sandbox.
	Hidden bool `json:"hidden,omitempty" yaml:"hidden,omitempty"`
	// IsPEFT says that the model is a PEFT adapter (LoRA and the like), which
	// is loaded onto BaseModel.
	IsPEFT bool `json:"is_peft,omitempty" yaml:"is_peft,omitempty"`
	// BaseModel is the ID of an adapter's base. Required if IsPEFT, and only then.
	BaseModel string `json:"base_model,omitempty" yaml:"base_model,omitempty"`
	// ForceBase loads an adapter onto BaseModel although its own configuration
	// names another model: a quantised one, say, or one that is gone from the hub.
	ForceBase bool `json:"force_base,omitempty" yaml:"force_base,omitempty"`
	// Revision is a branch, tag or commit. "" means main. It is resolved to a
	// commit, which [ModelHandle] tells.
	Revision string `json:"revision,omitempty" yaml:"revision,omitempty"`
	// LoadAsPEFT wraps the model, when it is loaded, in a PEFT adapter that
	// changes nothing, so that code for adapters works on it too. An adapter is
	// loaded as a PEFT model anyway.
	LoadAsPEFT bool `json:"load_as_peft,omitempty" yaml:"load_as_peft,omitempty"`
	// Include are glob patterns of the files to download, such as
	// "*.safetensors". nil means all, with one format of the weights.
	Include []string `json:"include,omitempty" yaml:"include,omitempty"`
	// Exclude are glob patterns of files to leave out; they go before Include.
	Exclude []string `json:"exclude,omitempty" yaml:"exclude,omitempty"`
}

const defaultVarName = "model"

func (m ModelConfig) varName() string {
	if m.VarName == "" {
		return defaultVarName
	}
	return m.VarName
}

// ModelHandle tells where a declared model is in the sandbox. It names hidden
// models too: show it to the agent's owner, not to the agent.
type ModelHandle struct {
	Name     string   `json:"name"`
	VarName  string   `json:"var_name"`
	Path     string   `json:"path"`     // directory in the sandbox
	Revision string   `json:"revision"` // commit on the hub
	Files    []string `json:"files"`    // relative to Path
	// LeftOut are the files of the repository that were not downloaded; none for
	// a hidden model, as their names could tell its own.
	LeftOut    []LeftOut `json:"left_out,omitempty"`
	Hidden     bool      `json:"hidden,omitempty"`
	IsPEFT     bool      `json:"is_peft,omitempty"`
	LoadAsPEFT bool      `json:"load_as_peft,omitempty"`
	BaseModel  string    `json:"base_model,omitempty"` // "" unless IsPEFT
	BasePath   string    `json:"base_path,omitempty"`  // directory of the base in the sandbox; "" unless IsPEFT

	BaseRevision string `json:"base_revision,omitempty"` // commit of the base; "" unless IsPEFT
	Volume       string `json:"volume,omitempty"`        // that is mounted at Path, read-only
	BaseVolume   string `json:"base_volume,omitempty"`   // that is mounted at BasePath; "" unless IsPEFT
}

// LeftOut is a file of a model's repository that is not downloaded.
type LeftOut struct {
	Path  string `json:"path"`  // in the repository
	Bytes int64  `json:"bytes"` // its size
	Why   string `json:"why"`   // for people: "the same weights in another format"
}
