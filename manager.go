package seer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// ManagerOptions adjusts [NewManager].
type ManagerOptions struct {
	Name    string        // of the MCP server; "" = "seer-fleet"
	Filter  Filter        // the sandboxes that an agent may reach; the zero Filter takes all of the app
	Timeout time.Duration // of each call of a tool, commands included; 0 = 10 minutes
}

const defaultManagerTimeout = 10 * time.Minute

// Manager gives an agent tools to look after sandboxes that run already: list
// them, look at one, run commands, read and write files, snapshot, terminate.
// It reaches the sandboxes of one app ([WithAppName]) that its Filter takes,
// and no others. It may be used from several goroutines.
type Manager struct {
	*mcpHost
	opts    options
	filter  Filter
	timeout time.Duration
	backend *backend
	client  *modalclient.Client

	mu      sync.Mutex
	handles map[string]*Sandbox // connected, by ID; nil = closed
}

// NewManager connects to the backend. Opts may be nil. End it with
// Close.
func NewManager(ctx context.Context, opts *ManagerOptions, with ...Option) (*Manager, error) {
	var adjusted ManagerOptions
	if opts != nil {
		adjusted = *opts
	}
	setDefault(&adjusted.Name, "seer-fleet")
	setDefault(&adjusted.Timeout, defaultManagerTimeout)
	m := &Manager{opts: newOptions(with), filter: adjusted.Filter, timeout: adjusted.Timeout, handles: map[string]*Sandbox{}}
	m.filter.Tags = maps.Clone(m.filter.Tags)
	m.opts.lease = -1 // who looks after a sandbox does not change how long it lives
	if err := m.connect(ctx); err != nil {
		return nil, fmt.Errorf("manage sandboxes: %w", err)
	}
	m.mcpHost = newLimitedMCPHost(adjusted.Name, mcpserver.Tools{Fleet: managerTools{m}}, "", m.opts)
	return m, nil
}

func (m *Manager) connect(ctx context.Context) (err error) {
	if m.backend, err = chooseBackend(m.opts); err != nil {
		return err
	}
	m.opts.settlePrices(m.backend.name == "local")
	if m.client, _, err = m.backend.acquire(ctx, m.opts.logger); err != nil {
		return err
	}
	// Refused credentials are told now, not to the agent. The app may come later.
	if _, err := m.client.App(ctx, m.opts.appName, false); err != nil && !errors.Is(err, modalclient.ErrNotFound) {
		return errors.Join(publicError(err), m.backend.release())
	}
	return nil
}

// Close ends the calls of agents and closes the port that MCPConfig opened.
// The sandboxes run on. It may be called again.
func (m *Manager) Close(context.Context) error {
	m.mu.Lock()
	handles := m.handles
	m.handles = nil
	m.mu.Unlock()
	if handles == nil {
		return nil
	}
	errs := []error{m.closeMCP()}
	for _, s := range handles {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, m.backend.release())...)
}

// list yields what the manager may reach.
func (m *Manager) list(ctx context.Context, query mcpserver.SandboxQuery) ([]Info, error) {
	filter := m.filter
	if len(query.Tags) > 0 {
		filter.Tags = maps.Clone(query.Tags)
		maps.Copy(filter.Tags, m.filter.Tags) // a query only narrows
	}
	for name, value := range filter.Tags {
		if wanted, ok := query.Tags[name]; ok && wanted != value {
			return nil, nil
		}
	}
	var found []Info
	for running, err := range sandboxesOf(ctx, m.client, m.opts.appName, filter.tags()) {
		if err != nil {
			return nil, publicError(err)
		}
		if info := newInfo(running); filter.takes(info) && (query.Program == "" || query.Program == info.Program) {
			found = append(found, info)
		}
	}
	return found, nil
}

// find returns what the list says of a sandbox.
func (m *Manager) find(ctx context.Context, id string) (Info, error) {
	found, err := m.list(ctx, mcpserver.SandboxQuery{})
	if err != nil {
		return Info{}, err
	}
	for _, info := range found {
		if info.ID == id {
			return info, nil
		}
	}
	return Info{}, fmt.Errorf("sandbox %q: none of the running ones that can be managed here: %w", id, ErrNotFound)
}

// sandbox connects to one of the manager's sandboxes, once.
func (m *Manager) sandbox(ctx context.Context, id string) (*Sandbox, error) {
	m.mu.Lock()
	s := m.handles[id]
	m.mu.Unlock()
	if s != nil {
		return s, nil
	}
	if _, err := m.find(ctx, id); err != nil {
		return nil, err
	}
	s = &Sandbox{opts: m.opts, phase: phaseStarting}
	if err := s.join(ctx, id); err != nil {
		return nil, fmt.Errorf("connect to sandbox %s: %w", id, err)
	}
	m.mu.Lock()
	other := m.handles[id]
	keep := other == nil && m.handles != nil
	if keep {
		m.handles[id] = s
	}
	m.mu.Unlock()
	switch {
	case keep:
		return s, nil
	case other != nil: // another call was faster
		return other, s.Close()
	default:
		return nil, errors.Join(errors.New("connect to sandbox: the manager is closed"), s.Close())
	}
}

// forget lets go of a sandbox that has ended.
func (m *Manager) forget(id string) error {
	m.mu.Lock()
	s := m.handles[id]
	delete(m.handles, id)
	m.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.leave(phaseEnded)
}
