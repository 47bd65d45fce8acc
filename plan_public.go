package seer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// Plan is what Start would do with a config, and what that would cost. It is
// plain data; String is the text for people. It names no hidden model and
// holds no value of the environment.
type Plan struct {
	Base      string        `json:"base"`   // image below the layers
	Layers    []PlanLayer   `json:"layers"` // in the order they are built in
	Models    []PlanModel   `json:"models,omitempty"`
	Repos     []PlanRepo    `json:"repos,omitempty"`
	Files     []Mount       `json:"files,omitempty"` // of this machine, copied into the sandbox
	Ports     []PlanPort    `json:"ports,omitempty"`
	Variables []string      `json:"variables,omitempty"` // names in the sandbox's environment
	Steps     []PlanStep    `json:"steps"`
	GPU       *PlanGPU      `json:"gpu,omitempty"` // nil = CPU only
	Timeout   time.Duration `json:"timeout"`       // ends the sandbox
	Cost      PlanCost      `json:"cost"`
}

// Whether something is so. A plan that provisions nothing cannot know all.
const (
	PlanYes     = "yes"
	PlanNo      = "no"
	PlanUnknown = "unknown"
)

// PlanLayer is one layer of the image.
type PlanLayer struct {
	Title    string   `json:"title"`
	Commands []string `json:"commands"` // Dockerfile instructions
	Cached   string   `json:"cached"`   // PlanNo = Start builds it; always PlanUnknown on Modal, which answers by building
}

// PlanModel is one repository of the hub that models need.
type PlanModel struct {
	Name      string    `json:"name"`      // "(hidden N)" for a hidden one
	Variables []string  `json:"variables"` // of the models that need it
	Revision  string    `json:"revision"`  // commit on the hub; as declared when that is unknown
	Bytes     int64     `json:"bytes"`     // in all; 0 = unknown
	Files     int       `json:"files"`
	LeftOut   []LeftOut `json:"left_out,omitempty"` // of the repository; none for a hidden model
	From      string    `json:"from"`               // hub that it comes from
	Cached    string    `json:"cached"`             // PlanYes = it is on its volume, whole
	Fetch     int64     `json:"fetch"`              // bytes to download; 0 = none, or unknown
	Access    string    `json:"access"`             // PlanYes, PlanNo (gated or private) or PlanUnknown
	Problem   string    `json:"problem,omitempty"`  // why the hub could not tell
}

// PlanRepo is one repository to clone.
type PlanRepo struct {
	URL     string `json:"url"`
	Target  string `json:"target"`
	Branch  string `json:"branch,omitempty"`
	Commit  string `json:"commit,omitempty"`  // "" = the newest of the branch
	Install string `json:"install,omitempty"` // command that runs there
}

// PlanPort is a port that is opened.
type PlanPort struct {
	Number  int    `json:"number"`
	Purpose string `json:"purpose"`
}

// PlanStep is one step of Start.
type PlanStep struct {
	Title string   `json:"title"`
	After []string `json:"after,omitempty"` // titles of the steps it waits for
}

// PlanGPU says whether the models fit.
type PlanGPU struct {
	Type      string  `json:"type"`
	Count     int     `json:"count"`
	MemoryGiB float64 `json:"memory_gib"` // of all of them; 0 = unknown
	NeedGiB   float64 `json:"need_gib"`   // the models' weights and a fifth more; 0 = unknown
	Fits      string  `json:"fits"`       // PlanYes, PlanNo or PlanUnknown
}

// PlanCost is an estimate in US dollars. The local backend is free, unless
// WithPrices says otherwise.
type PlanCost struct {
	Known   bool    `json:"known"`   // false = the GPU has no price in the table
	Hourly  float64 `json:"hourly"`  // of the running sandbox
	Startup float64 `json:"startup"` // until it is of use: downloads at 200 MB/s on a CPU, then a minute of the sandbox
	Most    float64 `json:"most"`    // if it runs until its Timeout or what caps it, downloads included
	AsOf    string  `json:"as_of"`   // date of the prices
	Source  string  `json:"source"`  // of the prices
}

// Plan says what Start would do, without doing it: nothing is provisioned. The
// hub is asked for the sizes of models and the backend for what it has cached;
// what they do not tell, within seconds, is unknown in the plan and no error.
// It needs no account. A bad config is a *[ConfigError].
func (c SandboxConfig) Plan(ctx context.Context, opts ...Option) (*Plan, error) {
	s := NewSandbox(c, opts...)
	secrets, err := newSecretSource(s.opts.envFile, s.opts.logger)
	if err != nil {
		return nil, err
	}
	backend, world, err := s.opts.judge(secrets)
	if err != nil && !errors.Is(err, ErrNoBackend) {
		return nil, err
	}
	if problems := s.config.validate(world); len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	config := s.config.withDefaults()
	inner := plan.New(s.planInput())
	p := &Plan{
		Base:      inner.Base,
		Files:     slices.Concat(config.LocalFiles, config.LocalDirs),
		Variables: slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(config.Env)), config.Secrets))),
		Steps:     planSteps(inner.Steps),
		Timeout:   inner.Timeout,
	}
	caches := s.openPlanCaches(ctx, backend, secrets.lookup)
	defer caches.close(ctx)
	cached := caches.layers(ctx, inner)
	for i, layer := range inner.Layers {
		p.Layers = append(p.Layers, PlanLayer{Title: layer.Title, Commands: layer.Commands, Cached: cached[i]})
	}
	for _, port := range inner.Ports {
		p.Ports = append(p.Ports, PlanPort{Number: port.Number, Purpose: string(port.Purpose)})
	}
	for _, repo := range inner.Repos {
		p.Repos = append(p.Repos, PlanRepo{URL: repo.URL, Target: repo.Target, Branch: repo.Branch, Commit: repo.Commit, Install: repo.Install})
	}
	p.Models = planModels(ctx, secrets.lookup, inner.Volumes, caches.model)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.estimate(config, s.opts.prices)
	return p, nil
}

func planSteps(steps []plan.Step) []PlanStep {
	titles := make(map[string]string, len(steps))
	planned := make([]PlanStep, len(steps))
	for i, step := range steps {
		titles[step.ID] = step.Title
		planned[i].Title = step.Title
		for _, need := range step.Needs {
			planned[i].After = append(planned[i].After, titles[need])
		}
	}
	return planned
}

// estimate says what the plan costs at some prices; nil = nothing.
func (p *Plan) estimate(config SandboxConfig, prices *Prices) {
	var bytes, fetch int64
	sized := len(p.Models) > 0
	for _, m := range p.Models {
		bytes += m.Bytes
		fetch += m.Fetch
		sized = sized && m.Bytes > 0
	}
	if config.GPU != "" {
		p.GPU = planGPU(config, prices, bytes, sized)
	}
	if prices == nil {
		p.Cost = PlanCost{Known: true, Source: "the local backend: this machine costs nothing more"}
		return
	}
	p.Cost = PlanCost{AsOf: prices.AsOf, Source: prices.Source}
	rate, known := prices.perSecond(config)
	if !known {
		return
	}
	downloading, _ := prices.perSecond(SandboxConfig{})
	first := float64(fetch) / downloadRate * downloading
	p.Cost.Known = true
	p.Cost.Hourly = rate * time.Hour.Seconds()
	p.Cost.Startup = first + prepareTime.Seconds()*rate
	p.Cost.Most = first + rate*p.Timeout.Seconds()
}

// planGPU compares weights with memory. Activations and caches come on top of
// the weights, so a fifth is added; what is short of that is a guess, not a promise.
func planGPU(config SandboxConfig, prices *Prices, bytes int64, sized bool) *PlanGPU {
	g := &PlanGPU{Type: config.GPU, Count: config.GPUCount, Fits: PlanUnknown}
	if prices == nil { // free, but not without limits
		list := ListPrices()
		prices = &list
	}
	if price, known := prices.gpu(config.GPU); known {
		g.MemoryGiB = price.MemoryGiB * float64(config.GPUCount)
	}
	if sized {
		g.NeedGiB = float64(bytes) * 1.2 / (1 << 30)
	}
	switch {
	case g.MemoryGiB == 0 || !sized:
	case g.NeedGiB <= g.MemoryGiB:
		g.Fits = PlanYes
	default:
		g.Fits = PlanNo
	}
	return g
}
