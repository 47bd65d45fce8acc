package seer

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	// stateFile is where a sandbox's own command keeps what FromID needs to
	// know, readable by root alone and in no snapshot.
	stateFile = "/dev/shm/seer/state.json"
	// maxState leaves room for the command around it in Modal's 64 KiB.
	maxState = 48 << 10
)

//go:embed scripts/state.sh
var stateScript string

// state is what another program cannot ask the backend for. As it is an
// argument of the sandbox's command, it holds no secret, no value of Env, no
// path of this machine and no trace of a hidden model.
type state struct {
	Config SandboxConfig `json:"config"`
	Scoped bool          `json:"scoped,omitempty"`
	Models []ModelHandle `json:"models,omitempty"`
	Repos  []RepoHandle  `json:"repos,omitempty"`
}

func (s *Sandbox) state() (string, error) {
	current := state{Config: s.config.clone(), Scoped: s.scoped, Models: s.ModelHandles(), Repos: s.RepoHandles()}
	c := &current.Config
	c.Env, c.LocalFiles, c.LocalDirs = nil, nil, nil
	for i, m := range c.Models {
		if m.Hidden {
			c.Models[i] = ModelConfig{VarName: m.VarName, Hidden: true, IsPEFT: m.IsPEFT, LoadAsPEFT: m.LoadAsPEFT}
		}
	}
	for i, m := range current.Models {
		if m.Hidden {
			m.Name, m.BaseModel, m.Revision, m.BaseRevision = "", "", "", ""
			current.Models[i] = m
		}
	}
	for _, drop := range []func(){
		func() {},
		func() { // what a running sandbox no longer needs
			c.SystemPackages, c.PythonPackages, c.NotebookPackages, c.SetupCommands = nil, nil, nil, nil
		},
		func() {
			for i := range current.Models {
				current.Models[i].Files = nil
			}
		},
	} {
		drop()
		data, err := json.Marshal(current)
		if err != nil {
			return "", fmt.Errorf("describe sandbox: %w", err)
		}
		if len(data) <= maxState {
			return string(data), nil
		}
	}
	return "", fmt.Errorf("describe sandbox: its config has more than %d KiB", maxState>>10)
}

// adopt learns from a running sandbox how it was started. One that seer did
// not start has no state, and is used as it is.
func (s *Sandbox) adopt(ctx context.Context) error {
	if exit, ended, err := s.remote.Poll(ctx); err != nil || ended {
		if err == nil {
			err = endError(exit)
		}
		return err
	}
	cmd := s.Command("sh", "-c", stateScript, "seer-state", stateFile)
	cmd.remote = s.remote
	data, err := cmd.Output(ctx)
	if err != nil || len(data) == 0 {
		return err
	}
	var saved state
	if err := json.Unmarshal(data, &saved); err != nil {
		return fmt.Errorf("read %s: %w", stateFile, err)
	}
	s.config, s.scoped, s.models, s.repos = saved.Config, saved.Scoped, saved.Models, saved.Repos
	return s.adoptRepos(ctx)
}

// adoptRepos finds the repositories that were cloned after the state was written.
func (s *Sandbox) adoptRepos(ctx context.Context) error {
	planned := s.planInput().Repos
	if len(s.repos) > 0 || len(planned) == 0 {
		return nil
	}
	args := []string{"-c", `for path do git -C "$path" rev-parse HEAD 2>/dev/null || echo; done`, "commits"}
	for _, repo := range planned {
		args = append(args, repo.Target)
	}
	cmd := s.Command("sh", args...)
	cmd.remote = s.remote
	out, err := cmd.Output(ctx)
	if err != nil {
		return fmt.Errorf("find repositories: %w", err)
	}
	commits := strings.Split(string(out), "\n")
	for i, repo := range planned {
		s.repos = append(s.repos, RepoHandle{Name: repo.Name, URL: repo.URL, Path: repo.Target, Commit: commits[i]})
	}
	return nil
}
