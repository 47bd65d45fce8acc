package seer

import (
	"encoding/base64"
	"net/url"
	"slices"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// planInput says what the config asks for in the terms of package plan.
func (s *Sandbox) planInput() plan.Input {
	c := s.config.withDefaults()
	in := plan.Input{
		Resources: plan.Resources{GPU: c.GPU, GPUCount: c.GPUCount, CPU: c.CPU, MemoryMiB: c.MemoryMiB, Regions: c.Regions},
		Network:   plan.Network{Blocked: c.BlockNetwork, CIDRs: c.CIDRAllowlist},
		Life:      plan.Life{Timeout: c.lifetime(s.opts.prices), Idle: c.IdleTimeout, Lease: leaseOf(c, s.opts)},

		PythonVersion:    c.PythonVersion,
		SystemPackages:   c.SystemPackages,
		PythonPackages:   c.PythonPackages,
		NotebookPackages: c.NotebookPackages,
		SetupCommands:    c.SetupCommands,
		Downloader:       huggingface.DownloaderPackages(),

		Notebook: c.ExecutionMode == ModeNotebook,
		VSCode:   c.Debug,
		Scoped:   s.scoped,
		Docker:   c.DockerInDocker,

		JupyterPort: c.JupyterPort,
		RPCPort:     c.RPCPort,
		VSCodePort:  c.DebugPort,
		UserPorts:   c.EncryptedPorts,

		Env:     c.Env,
		Secrets: c.Secrets,
		Tags:    c.Tags,
	}
	for _, m := range s.plannedModels() {
		model := plan.Model{
			Name: m.Name, Variable: m.varName(), Revision: m.Revision,
			Include: m.Include, Exclude: m.Exclude, Hidden: m.Hidden, AsPEFT: m.LoadAsPEFT,
		}
		if m.IsPEFT {
			model.Base = m.BaseModel
		}
		in.Models = append(in.Models, model)
	}
	for _, r := range c.Repos {
		parsed, _ := parseRepoURL(r.URL) // validate has parsed it
		in.Repos = append(in.Repos, plan.Repo{
			Name: parsed.name, URL: parsed.clone, Target: r.target(), Branch: r.Branch, Commit: r.Commit,
			SSH: parsed.ssh, Token: r.TokenEnv != "", Install: r.Install, Dockerfile: r.Dockerfile,
		})
	}
	for _, m := range slices.Concat(c.LocalFiles, c.LocalDirs) {
		in.Files = append(in.Files, plan.Mount{Source: m.Source, Target: m.Target})
	}
	return in
}

// gitCredentials is the environment that hands git a token for one host, and
// for that host alone. Nothing of it is written anywhere.
func gitCredentials(cloneURL, token string) []string {
	scope := cloneURL
	if u, err := url.Parse(cloneURL); err == nil {
		scope = u.Scheme + "://" + u.Host + "/"
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	return []string{
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=http." + scope + ".extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Basic " + basic,
	}
}
