// Package plan turns a declaration into what Start will do: image layers,
// volumes, ports, environment and ordered steps. It is pure: the same input
// gives the same plan, on any machine, and nothing is read or provisioned.
//
// The input is expected to be valid and to have its defaults filled in.
package plan

import (
	"maps"
	"slices"
	"time"
)

// Input is what a plan is made from. Only PythonVersion and Timeout are required.
type Input struct {
	Resources
	Network
	Life

	PythonVersion    string   // such as "3.11"
	SystemPackages   []string // apt packages
	PythonPackages   []string // pip requirements
	NotebookPackages []string // pip requirements, in notebook mode only
	SetupCommands    []string // bash commands that finish the image
	Downloader       []string // pip requirements of what downloads models

	Notebook bool // the image has Jupyter, and Start runs it
	VSCode   bool // Start runs VS Code
	Scoped   bool // functions will be served
	Docker   bool // a Docker daemon runs in the sandbox

	JupyterPort, RPCPort, VSCodePort int
	UserPorts                        []int

	Env     map[string]string
	Secrets []string // names; their values never come here
	Tags    map[string]string

	Models []Model
	Repos  []Repo
	Files  []Mount // files and directories of this machine
}

// Resources are what the sandbox's machine has.
type Resources struct {
	GPU       string // "" = none
	GPUCount  int
	CPU       float64 // cores; 0 = the backend's default
	MemoryMiB int     // 0 = the backend's default
	Regions   []string
}

// Network says what the sandbox may reach.
type Network struct {
	Blocked bool
	CIDRs   []string // nil = all that the backend allows
}

// Life says when the sandbox ends by itself. 0 means not for that reason.
type Life struct {
	Timeout time.Duration // since its creation
	Idle    time.Duration // since it was last used
	Lease   time.Duration // since the program that started it was last seen
}

// Model is a model to prepare.
type Model struct {
	Name, Variable   string
	Revision         string
	Include, Exclude []string
	Hidden           bool
	Base             string // of a PEFT adapter; "" for any other model
	AsPEFT           bool   // wrapped in an adapter that changes nothing
}

// Repo is a git repository to clone.
type Repo struct {
	Name       string
	URL        string
	Target     string // absolute path in the sandbox
	Branch     string
	Commit     string
	SSH        bool   // cloned over ssh
	Token      bool   // git is given a token for it
	Install    string // "" = nothing to install
	Dockerfile string // "" = no container to run
}

// Mount is a file or directory to copy into the sandbox.
type Mount struct{ Source, Target string }

// Plan is what Start will do.
type Plan struct {
	Resources
	Network
	Life

	Base       string  // registry tag of the image below the layers
	Layers     []Layer // in the order they are built in
	Downloader []Layer // of the image that models are downloaded with, on Base too; nil without models

	Env     map[string]string
	Secrets []string
	Tags    map[string]string
	Docker  bool
	Ports   []Port
	Volumes []Volume
	Repos   []Repo
	Files   []Mount

	Steps []Step // each after all that it needs
}

// Port is a port to open when the sandbox is created.
type Port struct {
	Number  int
	Purpose Purpose
}

// Purpose is what listens on a port.
type Purpose string

// The purposes of ports.
const (
	Jupyter Purpose = "Jupyter"
	RPC     Purpose = "functions"
	VSCode  Purpose = "VS Code"
	User    Purpose = "yours"
)

// Volume holds one repository of the hub, for one or more of the models.
type Volume struct {
	Repository       string
	Revision         string // "" = main
	Include, Exclude []string
	Hidden           bool     // its name is shown to the user alone, never in a log or in the sandbox
	Variables        []string // of the models that need it
}

// New makes the plan of an input, with which it shares nothing.
func New(in Input) Plan {
	p := Plan{
		Resources: in.Resources,
		Network:   in.Network,
		Life:      in.Life,
		Base:      "python:" + in.PythonVersion + "-slim-bookworm",
		Layers:    layers(in),
		Env:       maps.Clone(in.Env),
		Secrets:   unique(in.Secrets),
		Tags:      maps.Clone(in.Tags),
		Docker:    needsDocker(in),
		Ports:     ports(in),
		Volumes:   volumes(in.Models),
		Repos:     slices.Clone(in.Repos),
		Files:     slices.Clone(in.Files),
	}
	p.Regions = slices.Clone(in.Regions)
	p.CIDRs = slices.Clone(in.CIDRs)
	if len(p.Volumes) > 0 {
		p.Downloader = DownloaderLayers(in.Downloader)
	}
	p.Steps = steps(in, p.Volumes)
	return p
}

// ports are fixed when a sandbox is created, so those that a session may need
// later are opened too. A blocked network has none.
func ports(in Input) []Port {
	if in.Blocked {
		return nil
	}
	ports := []Port{{in.JupyterPort, Jupyter}}
	if in.Scoped {
		ports = append(ports, Port{in.RPCPort, RPC})
	}
	if in.VSCode {
		ports = append(ports, Port{in.VSCodePort, VSCode})
	}
	for _, number := range in.UserPorts {
		ports = append(ports, Port{number, User})
	}
	return ports
}

// volumes are what the models need from the hub, each once: adapters share
// their base. Hidden weights lie apart from visible ones.
func volumes(models []Model) []Volume {
	var all []Volume
	add := func(volume Volume, variable string) {
		i := slices.IndexFunc(all, volume.same)
		if i < 0 {
			i = len(all)
			all = append(all, volume)
		}
		if !slices.Contains(all[i].Variables, variable) {
			all[i].Variables = append(all[i].Variables, variable)
		}
	}
	for _, m := range models {
		add(Volume{
			Repository: m.Name, Revision: m.Revision, Hidden: m.Hidden,
			Include: slices.Clone(m.Include), Exclude: slices.Clone(m.Exclude),
		}, m.Variable)
		if m.Base != "" {
			add(Volume{Repository: m.Base, Hidden: m.Hidden}, m.Variable)
		}
	}
	return all
}

func (v Volume) same(other Volume) bool {
	return v.Repository == other.Repository && v.Revision == other.Revision && v.Hidden == other.Hidden &&
		slices.Equal(v.Include, other.Include) && slices.Equal(v.Exclude, other.Exclude)
}

func needsDocker(in Input) bool {
	return in.Docker || slices.ContainsFunc(in.Repos, func(r Repo) bool { return r.Dockerfile != "" })
}

// unique is the list without repetitions, in its own order.
func unique(list []string) []string {
	var result []string
	for _, item := range list {
		if !slices.Contains(result, item) {
			result = append(result, item)
		}
	}
	return result
}
