package seer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// stateFile is where a sandbox keeps what FromID needs to know, readable by
// its root alone.
const stateFile = "/run/seer/state.json"

// state is what another program cannot ask the backend for. It holds no
// secret and no name of a hidden model.
type state struct {
	Config SandboxConfig `json:"config"`
	Scoped bool          `json:"scoped,omitempty"`
	Models []ModelHandle `json:"models,omitempty"`
	Repos  []RepoHandle  `json:"repos,omitempty"`
}

func (s *Sandbox) state() state {
	current := state{Config: s.config.clone(), Scoped: s.scoped, Models: s.ModelHandles(), Repos: s.RepoHandles()}
	for i, m := range current.Config.Models {
		if m.Hidden {
			m.Name, m.BaseModel = "", ""
			current.Config.Models[i] = m
		}
	}
	for i, m := range current.Models {
		if m.Hidden {
			m.Name, m.BaseModel = "", ""
			current.Models[i] = m
		}
	}
	return current
}

// saveState writes the state file, in the background: nobody needs it before
// this program has closed or lost the sandbox.
func (s *Sandbox) saveState(ctx context.Context) error {
	data, err := json.Marshal(s.state())
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return s.remote.WriteFile(ctx, stateFile, bytes.NewReader(data), 0o600)
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
	data, err := s.remote.ReadFile(ctx, stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var saved state
	if err := json.Unmarshal(data, &saved); err != nil {
		return fmt.Errorf("read %s: %w", stateFile, err)
	}
	s.config, s.scoped, s.models, s.repos = saved.Config, saved.Scoped, saved.Models, saved.Repos
	return nil
}
