// Package seertest is a fake Modal for tests, in the spirit of net/http/httptest:
// a real gRPC server on a loopback port that speaks Modal's protocol, so that
// the code under test runs unchanged, client and all.
//
//	server := seertest.NewServer(t)
//	sandbox, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(ctx)
//
// On Linux, commands run for real in isolated processes. [Server.HandleExec]
// plays them with a function instead, on any operating system.
package seertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// Server is a fake Modal. Its methods may be called from any goroutine.
type Server struct {
	tb       testing.TB
	backend  seer.Backend
	allow    []string
	noLeases bool

	mu      sync.Mutex
	script  func(Exec) Result
	calls   []Call
	faults  []*fault
	delays  map[string]time.Duration
	full    bool
	ahead   time.Duration                 // of the server's clock
	marked  map[string]context.CancelFunc // commands that run, by their mark
	server  *modalserver.Server
	runtime runtime.Runtime
}

// Call is one RPC that a client made.
type Call struct {
	RPC     string // such as "SandboxCreate"
	Request string // as JSON; empty where it may hold secrets
}

// Exec is a command that a sandbox was asked to run.
type Exec struct {
	Context   context.Context // ends when the command is killed
	SandboxID string
	Args      []string
	Env       []string // "NAME=value"
	Dir       string
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
}

// Result says how a command ended. The zero value is exit status 0.
type Result struct {
	Code   int
	Signal int // when not 0, the signal that killed it
}

// Option adjusts [NewServer].
type Option func(*Server)

// AllowHost opens addresses of this machine to sandboxes, as local.AllowHost does.
func AllowHost(addresses ...string) Option {
	return func(s *Server) { s.allow = append(s.allow, addresses...) }
}

// WithoutLeases makes the server keep no leases, as Modal keeps none: what ends
// a sandbox that its program has forgotten is then a watcher inside, so that
// requests are those that Modal gets.
func WithoutLeases() Option {
	return func(s *Server) { s.noLeases = true }
}

// NewServer prepares a server that starts with the first sandbox and is closed
// when the test ends. A sandbox that still runs then fails the test.
func NewServer(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, delays: map[string]time.Duration{}, marked: map[string]context.CancelFunc{}}
	for _, opt := range opts {
		opt(s)
	}
	s.backend = seer.NewBackend("local", s.open, s.close).Describe(s.describe)
	tb.Cleanup(s.finish)
	return s
}

// Backend is what [seer.WithBackend] takes.
func (s *Server) Backend() seer.Backend { return s.backend }

// Endpoint starts the server and tells how a program of its own reaches it:
// MODAL_SERVER_URL, MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or [seer.NewBackend].
func (s *Server) Endpoint() seer.Endpoint {
	s.tb.Helper()
	endpoint, err := s.open(s.tb.Context())
	if err != nil {
		s.tb.Fatal(err)
	}
	return endpoint
}

// HandleExec lets play answer every command, so that no process runs, no image
// is built and any GPU is to be had. Call it before the first sandbox starts.
func (s *Server) HandleExec(play func(Exec) Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.tb.Error("seertest: HandleExec must come before the first sandbox")
	}
	s.script = play
}

// Calls returns every RPC so far, in the order of their arrival.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Sandboxes returns the IDs of those that run.
func (s *Server) Sandboxes() []string {
	s.mu.Lock()
	server := s.server
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	var ids []string
	for _, info := range server.Sandboxes() {
		ids = append(ids, info.ID)
	}
	return ids
}

func describe(request proto.Message) string {
	switch request.ProtoReflect().Descriptor().Name() {
	case "SecretGetOrCreateRequest", "TaskExecStdinWriteRequest", "SandboxStdinWriteRequest":
		return ""
	}
	text, err := protojson.Marshal(request)
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *Server) open(context.Context) (seer.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	endpoint := s.machine()
	endpoint.TokenID, endpoint.TokenSecret, endpoint.PlainTunnels = "ak-"+rand.Text(), "as-"+rand.Text(), true
	if s.server == nil {
		if err := s.start(); err != nil {
			return seer.Endpoint{}, fmt.Errorf("start seertest server: %w", err)
		}
	}
	endpoint.ServerURL = s.server.URL()
	return endpoint, nil
}

func (s *Server) describe() seer.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine()
}

// machine is what the place of sandboxes has: everything, where commands are played.
func (s *Server) machine() seer.Endpoint {
	if s.script != nil {
		return seer.Endpoint{}
	}
	machine := hostMachine()
	machine.NoGPU = true
	return machine
}

func (s *Server) start() error {
	logger := slog.New(slog.NewTextHandler(testLog{s.tb}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	imageDir, tunnels := "", ""
	if s.script != nil {
		s.runtime = scripted.New(s.play)
	} else {
		var err error
		if s.runtime, imageDir, err = hostRuntime(s.allow, logger); err != nil {
			return err
		}
		tunnels = tunnelHost
	}
	server, err := modalserver.New(modalserver.Config{
		Runtime: s.runtime, ImageDir: imageDir, TunnelHost: tunnels, PlayGPUs: s.script != nil, Logger: logger,
		Hook: s.see, Spoil: s.spoil, Clock: s.clock, NoLeases: s.noLeases, Full: s.isFull,
	})
	if err != nil {
		return errors.Join(err, s.runtime.Close())
	}
	s.server = server
	return nil
}

// play hands a command to the test's script as its caller gave it. What the
// SDK does for itself (finding state, renewing leases, killing) stays out of it.
func (s *Server) play(ctx context.Context, e scripted.Exec) scripted.Result {
	command, err := modalclient.Unwrap(e.Args, e.Stdin)
	if err != nil {
		fmt.Fprintln(e.Stderr, err)
		return scripted.Result{Code: 125}
	}
	if mark, ok := modalclient.KillTarget(command.Args); ok {
		s.kill(mark)
		return scripted.Result{}
	}
	if slices.Contains(command.Args, "seer-lease") || slices.Contains(command.Args, "seer-state") {
		return scripted.Result{} // no sandbox's own command runs that would keep either
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.killable(command.Mark, cancel)()
	env := slices.Clone(e.Env)
	for _, name := range slices.Sorted(maps.Keys(command.Env)) {
		env = append(env, name+"="+command.Env[name])
	}
	r := s.script(Exec{
		Context: ctx, SandboxID: e.SandboxID, Args: command.Args, Env: env, Dir: e.Dir,
		Stdin: command.Stdin, Stdout: e.Stdout, Stderr: e.Stderr,
	})
	if ctx.Err() != nil {
		return scripted.Result{Signal: 9}
	}
	return scripted.Result{Code: r.Code, Signal: r.Signal}
}

func (s *Server) killable(mark string, cancel context.CancelFunc) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked[mark] = cancel
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.marked, mark)
	}
}

func (s *Server) kill(mark string) {
	s.mu.Lock()
	cancel := s.marked[mark]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (s *Server) close() error {
	s.mu.Lock()
	server, host := s.server, s.runtime
	s.server, s.runtime = nil, nil
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	return errors.Join(server.Close(), host.Close())
}

func (s *Server) finish() {
	for _, id := range s.Sandboxes() {
		s.tb.Errorf("seertest: sandbox %s still runs at the end of the test", id)
	}
	if err := s.close(); err != nil {
		s.tb.Errorf("seertest: %v", err)
	}
}

// testLog writes the server's log to the test's.
type testLog struct{ tb testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.tb.Logf("seertest: %s", p)
	return len(p), nil
}
