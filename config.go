package seer

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// SandboxConfig declares what a sandbox has. It is plain data: it may be
// copied, loads from YAML and JSON ([LoadConfig]), and is never changed by the
// functions that take it. The zero value is a CPU sandbox with Python 3.11.
//
// In JSON and YAML the keys are the field names in snake_case (gpu_count), and
// durations are written as "1h30m".
type SandboxConfig struct {
	// GPU is a GPU type that Modal knows: "A100", "H100", "A100-80GB" and so
	// on. "" means CPU only.
	GPU string `json:"gpu,omitempty" yaml:"gpu,omitempty"`
	// GPUCount is how many of them. 0 means 1.
	GPUCount int `json:"gpu_count,omitempty" yaml:"gpu_count,omitempty"`
	// CPU is the number of physical cores, which may be a fraction. 0 means
	// what the backend gives by default.
	CPU float64 `json:"cpu,omitempty" yaml:"cpu,omitempty"`
	// MemoryMiB is the memory in MiB. 0 means what the backend gives by default.
	MemoryMiB int `json:"memory_mib,omitempty" yaml:"memory_mib,omitempty"`
	// Regions restricts where the sandbox may run, such as "us-east". nil
	// means anywhere.
	Regions []string `json:"regions,omitempty" yaml:"regions,omitempty"`

	// Models are downloaded from HuggingFace and mounted in the sandbox.
	Models []ModelConfig `json:"models,omitempty" yaml:"models,omitempty"`
	// Repos are git repositories to clone into the sandbox.
	Repos []RepoConfig `json:"repos,omitempty" yaml:"repos,omitempty"`

	// PythonVersion is the version of python, such as "3.12". "" means "3.11".
	PythonVersion string `json:"python_version,omitempty" yaml:"python_version,omitempty"`
	// PythonPackages are pip requirements, such as "torch>=2.4".
	PythonPackages []string `json:"python_packages,omitempty" yaml:"python_packages,omitempty"`
	// SystemPackages are apt packages, such as "ffmpeg" or "jq=1.6-2.1".
	SystemPackages []string `json:"system_packages,omitempty" yaml:"system_packages,omitempty"`
	// NotebookPackages are pip requirements for notebook mode. jupyter_server
	// and ipykernel are installed with them, in versions given here if any.
	// nil means those two alone.
	NotebookPackages []string `json:"notebook_packages,omitempty" yaml:"notebook_packages,omitempty"`
	// SetupCommands are bash commands that finish the image, one cached layer
	// each, in order. They see neither Secrets nor Env nor local files.
	SetupCommands []string `json:"setup_commands,omitempty" yaml:"setup_commands,omitempty"`

	// Env are environment variables of everything that runs in the sandbox.
	Env map[string]string `json:"env,omitempty" yaml:"env,omitempty"`
	// Secrets are names of variables whose values are taken from the process
	// environment, then from .env, and set in the sandbox.
	Secrets []string `json:"secrets,omitempty" yaml:"secrets,omitempty"`
	// LocalFiles are files of this machine to copy into the sandbox.
	LocalFiles []Mount `json:"local_files,omitempty" yaml:"local_files,omitempty"`
	// LocalDirs are directories of this machine to copy into the sandbox.
	LocalDirs []Mount `json:"local_dirs,omitempty" yaml:"local_dirs,omitempty"`

	// Timeout ends the sandbox, counted from its creation, in whole seconds.
	// 0 means 1h; the most is 24h.
	Timeout time.Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	// IdleTimeout ends a sandbox that nobody has used for that long, in whole
	// seconds. 0 means never.
	IdleTimeout time.Duration `json:"idle_timeout,omitempty" yaml:"idle_timeout,omitempty"`
	// MaxLifetime caps Timeout, in whole seconds: the guard against a bill,
	// beside the working value. 0 means no cap.
	MaxLifetime time.Duration `json:"max_lifetime,omitempty" yaml:"max_lifetime,omitempty"`
	// Budget caps Timeout at what this many US dollars pay for, by [ListPrices]
	// or [WithPrices]: the lowest of the caps counts. It is an estimate, of the
	// sandbox alone: image builds and downloads come first and on top. 0 means
	// no cap. On the local backend, which is free, it caps by WithPrices only.
	Budget float64 `json:"budget,omitempty" yaml:"budget,omitempty"`
	// SnapshotBeforeEnd is how long before Timeout, or what caps it, ends the
	// sandbox it is saved and then ended: choose what a snapshot takes. The
	// program that started the sandbox does it, if it still runs and has not
	// closed it; see [Sandbox.FinalSnapshot]. 0 means that it is not saved.
	SnapshotBeforeEnd time.Duration `json:"snapshot_before_end,omitempty" yaml:"snapshot_before_end,omitempty"`
	// WaitTimeout bounds how long Start waits for a service (Jupyter, VS Code)
	// to answer. 0 means 5m.
	WaitTimeout time.Duration `json:"wait_timeout,omitempty" yaml:"wait_timeout,omitempty"`
	// RPCTimeout bounds one call of a served function. 0 means 10m.
	RPCTimeout time.Duration `json:"rpc_timeout,omitempty" yaml:"rpc_timeout,omitempty"`

	// ExecutionMode says whether the image comes with Jupyter. The zero value
	// is ModeCLI, without.
	ExecutionMode ExecutionMode `json:"execution_mode,omitempty" yaml:"execution_mode,omitempty"`
	// Debug runs VS Code for the browser in the sandbox.
	Debug bool `json:"debug,omitempty" yaml:"debug,omitempty"`
	// DockerInDocker runs a Docker daemon in the sandbox. Modal only.
	DockerInDocker bool `json:"docker_in_docker,omitempty" yaml:"docker_in_docker,omitempty"`

	// EncryptedPorts are TCP ports to reach from outside, each through a TLS
	// tunnel of its own. Whoever knows a tunnel's URL gets through to the port.
	EncryptedPorts []int `json:"encrypted_ports,omitempty" yaml:"encrypted_ports,omitempty"`
	// JupyterPort is where a notebook server listens. 0 means 8888.
	JupyterPort int `json:"jupyter_port,omitempty" yaml:"jupyter_port,omitempty"`
	// RPCPort is where a scoped sandbox serves its functions. 0 means 8080.
	RPCPort int `json:"rpc_port,omitempty" yaml:"rpc_port,omitempty"`
	// DebugPort is where VS Code listens. 0 means 8443.
	DebugPort int `json:"debug_port,omitempty" yaml:"debug_port,omitempty"`
	// BlockNetwork cuts the sandbox off: it reaches nothing and no port of it
	// is reached. Sessions and services still work.
	BlockNetwork bool `json:"block_network,omitempty" yaml:"block_network,omitempty"`
	// CIDRAllowlist are the only networks that the sandbox may reach, such as
	// "203.0.113.0/24". nil means all that the backend allows; an empty list,
	// [] in a file, allows none.
	CIDRAllowlist []string `json:"cidr_allowlist,omitempty" yaml:"cidr_allowlist,omitempty" seer:"restricts"`

	// Tags are labels to find the sandbox by. Keys and values have at most 63
	// characters of A-Z, a-z, 0-9, '.', '_' and '-'; keys that begin with
	// "seer." are the SDK's own.
	Tags map[string]string `json:"tags,omitempty" yaml:"tags,omitempty"`
}

// What the zero values of a SandboxConfig stand for.
const (
	defaultPythonVersion = "3.11"
	defaultTimeout       = time.Hour
	maxTimeout           = 24 * time.Hour
	defaultJupyterPort   = 8888
	defaultRPCPort       = 8080
	defaultDebugPort     = 8443
	defaultWaitTimeout   = 5 * time.Minute
	defaultRPCTimeout    = 10 * time.Minute
)

// withDefaults is the config with every zero value that stands for another
// one replaced by it.
func (c SandboxConfig) withDefaults() SandboxConfig {
	setDefault(&c.PythonVersion, defaultPythonVersion)
	setDefault(&c.Timeout, defaultTimeout)
	if c.MaxLifetime > 0 {
		c.Timeout = min(c.Timeout, c.MaxLifetime)
	}
	setDefault(&c.WaitTimeout, defaultWaitTimeout)
	setDefault(&c.RPCTimeout, defaultRPCTimeout)
	setDefault(&c.JupyterPort, defaultJupyterPort)
	setDefault(&c.RPCPort, defaultRPCPort)
	setDefault(&c.DebugPort, defaultDebugPort)
	if c.GPU != "" {
		setDefault(&c.GPUCount, 1)
	}
	return c
}

// clone is a config that shares nothing with c.
func (c SandboxConfig) clone() SandboxConfig {
	c.Regions = slices.Clone(c.Regions)
	c.Models = slices.Clone(c.Models)
	for i := range c.Models {
		c.Models[i].Include = slices.Clone(c.Models[i].Include)
		c.Models[i].Exclude = slices.Clone(c.Models[i].Exclude)
	}
	c.Repos = slices.Clone(c.Repos)
	c.PythonPackages = slices.Clone(c.PythonPackages)
	c.SystemPackages = slices.Clone(c.SystemPackages)
	c.NotebookPackages = slices.Clone(c.NotebookPackages)
	c.SetupCommands = slices.Clone(c.SetupCommands)
	c.Env = maps.Clone(c.Env)
	c.Secrets = slices.Clone(c.Secrets)
	c.LocalFiles = slices.Clone(c.LocalFiles)
	c.LocalDirs = slices.Clone(c.LocalDirs)
	c.EncryptedPorts = slices.Clone(c.EncryptedPorts)
	c.CIDRAllowlist = slices.Clone(c.CIDRAllowlist)
	c.Tags = maps.Clone(c.Tags)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ExecutionMode says what an agent works in. In JSON and YAML it is "cli" or
// "notebook".
type ExecutionMode int

const (
	// ModeCLI is a shell and Python. A notebook session can still be had: it
	// installs Jupyter when it begins.
	ModeCLI ExecutionMode = iota
	// ModeNotebook builds Jupyter into the image, so that a notebook session
	// begins at once.
	ModeNotebook
)

// String returns "cli" or "notebook".
func (m ExecutionMode) String() string {
	switch m {
	case ModeCLI:
		return "cli"
	case ModeNotebook:
		return "notebook"
	default:
		return fmt.Sprintf("ExecutionMode(%d)", int(m))
	}
}

// MarshalText returns "cli" or "notebook".
func (m ExecutionMode) MarshalText() ([]byte, error) {
	if m != ModeCLI && m != ModeNotebook {
		return nil, fmt.Errorf("marshal execution mode: %v is neither ModeCLI nor ModeNotebook", m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText takes "cli" or "notebook".
func (m *ExecutionMode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "cli":
		*m = ModeCLI
	case "notebook":
		*m = ModeNotebook
	default:
		return fmt.Errorf("%q is no execution mode: write cli or notebook", text)
	}
	return nil
}

// Mount copies a file or directory of this machine to a place in the sandbox.
// In JSON and YAML it is {"source": ..., "target": ...} or the pair
// ["./data", "/workspace/data"].
type Mount struct {
	Source string `json:"source" yaml:"source"` // path on this machine; a relative one starts at the working directory
	Target string `json:"target" yaml:"target"` // absolute path in the sandbox
}
