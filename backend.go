package seer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// Backend is a place where sandboxes run: Modal, or a server that speaks
// Modal's protocol. The zero Backend is the automatic choice that SEER_BACKEND
// describes in the package documentation. A Backend may be copied and used
// from several goroutines; sandboxes of one Backend share one connection.
type Backend struct{ *backend }

// Endpoint tells how to reach a server that speaks Modal's protocol.
type Endpoint struct {
	ServerURL    string   // "" = Modal, as modal-go's own environment variables and files have it
	TokenID      string   // "" = as modal-go finds it, on Modal only
	TokenSecret  string   // likewise
	Environment  string   // Modal environment; "" = the profile's
	PlainTunnels bool     // tunnels answer http, not https
	NoGPU        bool     // a GPU request is ErrNoGPU before anything is provisioned
	NoApt        bool     // SystemPackages cannot be installed: the machine has no apt-get
	Pythons      []string // the Python versions there are; nil = any

	// Release is called when the last sandbox that used the endpoint has ended;
	// not while one that was detached may still run there. nil = nothing to do.
	Release func() error
}

type backend struct {
	name string
	open func(context.Context) (Endpoint, error)
	stop func() error

	describe func() Endpoint // what is known before open; nil = nothing
	patience modalclient.Patience

	mu       sync.Mutex
	users    int
	detached map[string]bool // sandboxes that run on without being counted, by ID
	client   *modalclient.Client
	endpoint Endpoint
}

// NewBackend makes a Backend of a server that speaks Modal's protocol. Open is
// called when the first sandbox needs the server, and again after all of them
// have ended and another one starts; stop by [Backend.Close]. Programs rarely
// call it: the local and seertest packages do.
func NewBackend(name string, open func(context.Context) (Endpoint, error), stop func() error) Backend {
	return Backend{&backend{name: name, open: open, stop: stop}}
}

// Describe says what is known of the backend's machine before anything is
// connected to or started there: NoGPU, NoApt and Pythons of what describe
// returns, so that [SandboxConfig.Validate] and [SandboxConfig.Plan] find what
// Start would refuse. It returns the same Backend; call it before that is used.
func (b Backend) Describe(describe func() Endpoint) Backend {
	b.describe = describe
	return b
}

// Modal is Modal itself. A token or environment given here goes before what
// modal-go finds in MODAL_* variables and ~/.modal.toml.
func Modal(opts ...ModalOption) Backend {
	var endpoint Endpoint
	for _, opt := range opts {
		opt(&endpoint)
	}
	return NewBackend("modal", func(context.Context) (Endpoint, error) {
		endpoint := endpoint
		endpoint.PlainTunnels = onThisMachine(os.Getenv("MODAL_SERVER_URL"))
		return endpoint, nil
	}, nil)
}

// onThisMachine reports whether a server is one that `seer local serve` runs.
// Its tunnels take TLS, but with a certificate that no client trusts, and
// plain HTTP, which does not leave the machine.
func onThisMachine(serverURL string) bool {
	u, err := url.Parse(serverURL)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// ModalOption adjusts [Modal].
type ModalOption func(*Endpoint)

// ModalToken is the pair that Modal's settings page shows.
func ModalToken(id, secret string) ModalOption {
	return func(e *Endpoint) { e.TokenID, e.TokenSecret = id, secret }
}

// ModalEnvironment chooses an environment of the workspace.
func ModalEnvironment(name string) ModalOption {
	return func(e *Endpoint) { e.Environment = name }
}

// Name is "modal" or "local"; "" for the zero Backend.
func (b Backend) Name() string {
	if b.backend == nil {
		return ""
	}
	return b.name
}

// Close stops the server of a local backend with every sandbox that still
// runs on it, and waits. On Modal it does nothing: there sandboxes run on.
func (b Backend) Close() error {
	if b.backend == nil || b.stop == nil {
		return nil
	}
	return b.stop()
}

// acquire returns the shared connection, made by the first caller. Each
// acquire is paired with one release.
func (b *backend) acquire(ctx context.Context, logger *slog.Logger) (*modalclient.Client, Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil {
		endpoint, err := b.open(ctx)
		if err != nil {
			return nil, Endpoint{}, err
		}
		client, err := modalclient.New(ctx, modalclient.Config{
			ServerURL:    endpoint.ServerURL,
			TokenID:      endpoint.TokenID,
			TokenSecret:  endpoint.TokenSecret,
			Environment:  endpoint.Environment,
			PlainTunnels: endpoint.PlainTunnels,
			Patience:     b.patience,
			Logger:       logger,
		})
		if err != nil {
			return nil, Endpoint{}, fmt.Errorf("connect to %s: %w", b.name, publicError(err))
		}
		b.client, b.endpoint = client, endpoint
	}
	b.users++
	return b.client, b.endpoint, nil
}

// release gives a connection back; the last one closes it.
func (b *backend) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users--
	if b.users > 0 || b.client == nil {
		return nil
	}
	client := b.client
	b.client = nil
	err := client.Close()
	if release := b.endpoint.Release; release != nil && len(b.detached) == 0 {
		err = errors.Join(err, release())
	}
	return err
}

// detach keeps the server up for a sandbox that outlives its handle, until
// somebody ends it.
func (b *backend) detach(sandboxID string, runsOn bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !runsOn {
		delete(b.detached, sandboxID)
		return
	}
	if b.detached == nil {
		b.detached = make(map[string]bool)
	}
	b.detached[sandboxID] = true
}

// registered holds the one backend that an import brings, as database/sql
// drivers do it, and the connection to Modal that automatic choices share.
var registered struct {
	sync.Mutex
	local    Backend
	warnOnce sync.Once
}

var sharedModal = Modal()

// RegisterLocal makes a backend the fallback when no Modal credentials are
// found. The local package calls it when it is imported.
func RegisterLocal(b Backend) {
	registered.Lock()
	defer registered.Unlock()
	registered.local = b
}

// chooseBackend settles where a sandbox runs.
func chooseBackend(o options) (*backend, error) {
	if o.backend.backend != nil {
		return o.backend.backend, nil
	}
	registered.Lock()
	local := registered.local.backend
	registered.Unlock()

	switch choice := os.Getenv("SEER_BACKEND"); choice {
	case "modal":
		return sharedModal.backend, nil
	case "local":
		if local == nil {
			return nil, fmt.Errorf("SEER_BACKEND=local: %w", ErrNoBackend)
		}
		return local, nil
	case "", "auto":
		if modalclient.HasCredentials() {
			return sharedModal.backend, nil
		}
		if local == nil {
			return nil, ErrNoBackend
		}
		registered.warnOnce.Do(func() {
			o.logger.Warn("no Modal credentials found: sandboxes run on this machine, without GPUs",
				"backend", "local", "instead", "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
		})
		return local, nil
	default:
		return nil, &ConfigError{Problems: []Problem{{
			Field: "SEER_BACKEND", Value: choice, Message: `must be "auto", "modal" or "local"`,
		}}}
	}
}

// publicError turns an error of internal/modalclient into the one that users match.
func publicError(err error) error {
	for _, m := range []struct{ from, to error }{
		{modalclient.ErrUnauthorized, ErrUnauthorized},
		{modalclient.ErrNotFound, ErrNotFound},
		{modalclient.ErrSandboxLost, ErrSandboxLost},
		{modalclient.ErrTerminated, ErrTerminated},
		{modalclient.ErrNoGPU, ErrNoGPU},
	} {
		if errors.Is(err, m.from) {
			return &translatedError{err: err, as: m.to}
		}
	}
	return err
}

// translatedError reads as the error it wraps and matches a public one as well.
type translatedError struct{ err, as error }

func (e *translatedError) Error() string   { return shown.Text(e.err.Error()) }
func (e *translatedError) Unwrap() []error { return []error{e.err, e.as} }
