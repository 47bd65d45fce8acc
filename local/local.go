// Package local runs sandboxes on this machine: a server that speaks Modal's
// own protocol, embedded in the program, where every sandbox is a set of real
// isolated Linux processes. No account, no daemon, no root.
//
// Importing it, also as
//
//	import _ "github.com/ajobi-uhc/seer-go/local"
//
// makes it the fallback of package seer when no Modal credentials are found.
// It needs Linux. Sandboxes end with the program; image layers, volumes and
// snapshots are kept under the user's cache directory (SEER_HOME overrides
// it), so the second run is warm. docs/local-backend.md tells what it
// protects against and what not.
package local

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/isolation"
)

func init() {
	seer.RegisterLocal(New())
	isolation.Register(isolate)
}

// Option adjusts [New].
type Option func(*server)

// Dir keeps state (image layers, volumes, snapshots) below another directory
// than $SEER_HOME or the user's cache directory.
func Dir(path string) Option { return func(s *server) { s.dir = path } }

// AllowHost opens one address of this machine or its private networks to
// sandboxes, as "host:port" with an IP address; all others stay closed.
// 127.0.0.1:PORT is reached from inside as host.seer.internal:PORT.
func AllowHost(addresses ...string) Option {
	return func(s *server) { s.allow = append(s.allow, addresses...) }
}

// Logger takes the server's log lines. The default is [slog.Default], from
// warnings on.
func Logger(logger *slog.Logger) Option { return func(s *server) { s.logger = logger } }

// New returns a local backend. Its server starts with the first sandbox and
// stops with the last, with Backend.Close or with the program. Several
// programs may use one directory at once.
func New(opts ...Option) seer.Backend {
	s := &server{}
	for _, opt := range opts {
		opt(s)
	}
	return seer.NewBackend("local", s.open, s.close).Describe(describe)
}

type server struct {
	dir    string
	allow  []string
	logger *slog.Logger

	mu      sync.Mutex
	running *running
}

// settings are what a server is started with.
type settings struct {
	dir                  string
	listen               string // "" = loopback, any free port
	tokenID, tokenSecret string // "" = made up
	allow                []string
	advertise, mirror    string
	secrets              map[string]map[string]string
	proxies              []string
	logger               *slog.Logger
}

// warnings drops what is less than a warning.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// running is a started server.
type running struct {
	endpoint    seer.Endpoint
	certificate []byte // PEM
	close       func() error
}

func (s *server) open(ctx context.Context) (seer.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		dir, err := stateDir(s.dir)
		if err != nil {
			return seer.Endpoint{}, err
		}
		logger := s.logger
		if logger == nil {
			logger = slog.New(warnings{slog.Default().Handler()})
		}
		started, err := start(ctx, settings{dir: dir, allow: s.allow, logger: logger})
		if err != nil {
			return seer.Endpoint{}, fmt.Errorf("start local backend: %w", err)
		}
		started.endpoint.Release = s.close
		s.running = started
	}
	return s.running.endpoint, nil
}

func (s *server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	err := s.running.close()
	s.running = nil
	return err
}

// StateDir is where state is kept unless [Dir] says otherwise: $SEER_HOME, or
// the directory "seer" of the user's cache directory.
func StateDir() (string, error) {
	if dir := os.Getenv("SEER_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a state directory: %w; set SEER_HOME", err)
	}
	return filepath.Join(cache, "seer"), nil
}

// stateDir is the directory that was asked for, or the usual one.
func stateDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	return StateDir()
}

// token is what the program shows its own server, so that no other program of
// this machine can use it.
func token(prefix string) string { return prefix + rand.Text() }
