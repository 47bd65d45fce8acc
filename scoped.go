package seer

import (
	"context"
	"fmt"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// ScopedSandbox is a [Sandbox] for agents that may call chosen functions in it
// and do nothing else. Serve runs a Python file there; what the resulting
// [Service] hands out (a library, MCP tools, a skill) reaches the functions
// that the file exposes and nothing beside them. Whoever holds the
// ScopedSandbox itself can do all that a Sandbox can. It may be used from
// several goroutines.
type ScopedSandbox struct {
	*Sandbox

	turn   chan struct{} // holds one token: who has it may make server
	server *functionServer
}

// NewScopedSandbox prepares a scoped sandbox, as [NewSandbox] does. Its
// functions are reached through RPCPort, which it opens, or, where the network
// is blocked, through this program.
func NewScopedSandbox(config SandboxConfig, opts ...Option) *ScopedSandbox {
	return newScoped(NewSandbox(config, opts...))
}

// ScopedFromSnapshot starts a scoped sandbox on a saved file system, as
// [FromSnapshot] does. Services are not part of a snapshot: serve them again.
func ScopedFromSnapshot(ctx context.Context, snapshot *Snapshot, config SandboxConfig, opts ...Option) (*ScopedSandbox, error) {
	s, err := restored(snapshot, config, opts)
	if err != nil {
		return nil, err
	}
	return newScoped(s).Start(ctx)
}

// ScopedFromID connects to a scoped sandbox that runs already, as [FromID]
// does. [ScopedSandbox.Service] finds the services that run in it. Of a sandbox
// that is not [Sandbox.Verified] it takes the caller's word that it is scoped.
func ScopedFromID(ctx context.Context, sandboxID string, opts ...Option) (*ScopedSandbox, error) {
	s, err := FromID(ctx, sandboxID, opts...)
	if err != nil {
		return nil, err
	}
	if !s.scoped && s.Verified() {
		if err := s.leave(phaseDetached); err != nil {
			return nil, fmt.Errorf("connect to sandbox %s: %w", sandboxID, err)
		}
		return nil, fmt.Errorf("connect to sandbox %s: it is not a scoped sandbox; use FromID", sandboxID)
	}
	return newScoped(s), nil
}

func newScoped(s *Sandbox) *ScopedSandbox {
	s.scoped = true
	scoped := &ScopedSandbox{Sandbox: s, turn: make(chan struct{}, 1)}
	scoped.turn <- struct{}{}
	return scoped
}

// Start is [Sandbox.Start], and returns the scoped sandbox.
func (s *ScopedSandbox) Start(ctx context.Context) (*ScopedSandbox, error) {
	if _, err := s.Sandbox.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Services returns the names that are served, sorted.
func (s *ScopedSandbox) Services(ctx context.Context) ([]string, error) {
	server, err := s.functions(ctx)
	if err != nil {
		return nil, err
	}
	names, err := server.control().Services(ctx)
	return names, s.serviceError("list services", err)
}

// Service returns a service that runs already, served by this or another
// program. One that does not exist matches [ErrNotFound].
func (s *ScopedSandbox) Service(ctx context.Context, name string) (*Service, error) {
	server, err := s.functions(ctx)
	if err != nil {
		return nil, err
	}
	description, err := server.control().Describe(ctx, name)
	if err != nil {
		return nil, s.serviceError("find service "+name, err)
	}
	return newService(s, server, description)
}

// modelTable is what interface files see of the models: of hidden ones, the
// variable is the only name.
func (s *Sandbox) modelTable() []rpc.Model {
	var table []rpc.Model
	for _, m := range s.ModelHandles() {
		entry := rpc.Model{Name: m.Name, VarName: m.VarName, Path: m.Path, Base: m.BaseModel, BasePath: m.BasePath}
		if m.Hidden {
			entry.Name, entry.Base = m.VarName, ""
		}
		table = append(table, entry)
	}
	return table
}
