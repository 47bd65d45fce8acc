package seer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// Sandbox is a place for an agent to work: a machine with what its
// [SandboxConfig] declares. Start it, use it, and Terminate it. A Sandbox may
// be used from several goroutines.
type Sandbox struct {
	config SandboxConfig
	opts   options
	events *reporter
	scoped bool

	unverified bool     // this machine has no record of how it was started
	missingEnv []string // variables of the config's Env whose values were not kept

	mu      sync.Mutex
	phase   phase
	from    *Snapshot   // nil = built from the config
	images  *imageShare // nil = builds its own image
	backend *backend
	remote  *modalclient.Sandbox
	client  *modalclient.Client
	app     modalclient.App
	urls    map[int]string
	jupyter notebookServer
	vscode  vscode
	models  []ModelHandle
	repos   []RepoHandle
	stopped context.Context //nolint:containedctx // the life of the keeper and the watcher, ended by stop
	stop    context.CancelFunc
	kept    context.Context //nolint:containedctx // the life of the lease's keeper, ended by unkeep
	unkeep  context.CancelFunc
	tasks   sync.WaitGroup
	watch   *watch
	ends    time.Time // when its lifetime is over; zero = another program started it
	final   *Snapshot // that of SnapshotBeforeEnd; nil = not taken yet
	cause   error     // why the sandbox ended, once that is known

	jupyterStart sync.Mutex // held while jupyter is made
}

type phase int

const (
	phaseNew phase = iota
	phaseStarting
	phaseRunning
	phaseEnded
	phaseDetached
)

const (
	// endTimeout bounds what still has to be done when the caller's context
	// has ended: terminating, mostly.
	endTimeout = 30 * time.Second
	// tunnelTimeout bounds the wait for public addresses.
	tunnelTimeout = time.Minute
)

// NewSandbox prepares a sandbox. Nothing is provisioned and no error is
// possible before [Sandbox.Start]. The config is copied.
func NewSandbox(config SandboxConfig, opts ...Option) *Sandbox {
	o := newOptions(opts)
	return &Sandbox{config: config.clone(), opts: o, events: &reporter{fn: o.progress}}
}

// FromID connects to a sandbox that runs already, started by this or another
// program. It never restarts one. What it may have comes from this machine's
// record of it, never from the sandbox: see [Sandbox.Verified]. Its services run on with the tokens that they
// have, unless [WithNewTokens] says otherwise.
func FromID(ctx context.Context, sandboxID string, opts ...Option) (*Sandbox, error) {
	if sandboxID == "" {
		return nil, fmt.Errorf("connect to sandbox: no ID given: %w", ErrNotFound)
	}
	o := newOptions(opts)
	s := &Sandbox{opts: o, events: &reporter{fn: o.progress}, phase: phaseStarting}
	if err := s.attach(ctx, sandboxID); err != nil {
		return nil, fmt.Errorf("connect to sandbox %s: %w", sandboxID, err)
	}
	return s, nil
}

func (s *Sandbox) attach(ctx context.Context, sandboxID string) error {
	if err := s.join(ctx, sandboxID); err != nil {
		return err
	}
	if s.opts.renew {
		if err := s.endServices(ctx, s.remote); err != nil {
			return errors.Join(err, s.leave(phaseDetached))
		}
	}
	s.reconnect(ctx, s.remote)
	return nil
}

// join is attach without the sandbox's services.
func (s *Sandbox) join(ctx context.Context, sandboxID string) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	remote, err := s.client.Sandbox(ctx, sandboxID)
	if err == nil {
		s.remote = remote
		err = s.adopt(ctx)
	}
	if err == nil { // the program that started it may be gone, and its lease all but over
		err = s.renewLease(ctx)
	}
	if err != nil {
		return errors.Join(publicError(err), s.disconnect())
	}
	s.enterRunning()
	return nil
}

// SandboxID is Modal's ID of the sandbox; "" before Start.
func (s *Sandbox) SandboxID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remote == nil {
		return ""
	}
	return s.remote.ID()
}

// Backend is "modal" or "local"; "" before Start.
func (s *Sandbox) Backend() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Backend{s.backend}.Name()
}

// ModelHandles says where the prepared models are.
func (s *Sandbox) ModelHandles() []ModelHandle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.models)
}

// RepoHandles says where the cloned repositories are.
func (s *Sandbox) RepoHandles() []RepoHandle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.repos)
}

// URL is the public address of a port that EncryptedPorts lists. Whoever
// knows it reaches the port: let the service there ask for a secret.
func (s *Sandbox) URL(ctx context.Context, port int) (string, error) {
	remote, err := s.running()
	if err != nil {
		return "", err
	}
	urls, err := s.tunnels(ctx, remote)
	if err != nil {
		return "", s.callError("find tunnels", err)
	}
	url, ok := urls[port]
	if !ok {
		return "", fmt.Errorf("find URL of port %d: it is not open; list it in EncryptedPorts: %w", port, ErrNotFound)
	}
	return url, nil
}

// tunnels asks for the addresses once; they never change.
func (s *Sandbox) tunnels(ctx context.Context, remote *modalclient.Sandbox) (map[int]string, error) {
	s.mu.Lock()
	urls := s.urls
	s.mu.Unlock()
	if urls != nil {
		return urls, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	urls, err := remote.Tunnels(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.urls = urls
	s.mu.Unlock()
	return urls, nil
}

// Logs streams what the sandbox's own command prints, and what is written to its
// streams from inside: little, unless the sandbox was started by another tool.
// The output of commands is theirs, that of setup and services comes with the
// events of Start. It ends with the sandbox or with ctx.
func (s *Sandbox) Logs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		remote, err := s.running()
		if err != nil {
			yield("", err)
			return
		}
		for text, err := range remote.Logs(ctx) {
			if err != nil {
				yield("", s.callError("read logs", err))
				return
			}
			if !yield(text, nil) {
				return
			}
		}
	}
}

// Terminate ends the sandbox and everything in it, and waits until it is gone.
// It may be called again, and also when Start failed or never ran. It tries
// even when ctx has ended already, for at most 30 seconds more. A nil Sandbox has
// ended.
func (s *Sandbox) Terminate(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	switch s.phase {
	case phaseNew, phaseEnded:
		s.phase = phaseEnded
		s.mu.Unlock()
		return nil
	case phaseStarting:
		s.mu.Unlock()
		return errors.New("terminate sandbox: Start is still running; cancel its context instead")
	case phaseDetached:
		s.mu.Unlock()
		return errors.New("terminate sandbox: this Sandbox was closed; use FromID")
	}
	remote := s.remote
	s.mu.Unlock()

	// Should it not end now, it does when its lease runs out.
	s.unkeep()
	ctx, cancel := withGrace(ctx, endTimeout)
	defer cancel()
	err := remote.Terminate(ctx)
	switch {
	case err == nil, errors.Is(err, modalclient.ErrTerminated), errors.Is(err, modalclient.ErrNotFound):
	case s.hasEnded(): // another Terminate was faster, and took the connection along
	default:
		return fmt.Errorf("terminate sandbox %s: %w", remote.ID(), publicError(err))
	}
	return s.leave(phaseEnded)
}

func (s *Sandbox) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase == phaseEnded
}

// Close detaches from the sandbox, which runs on until its Timeout; the lease
// is lifted, and SnapshotBeforeEnd is nobody's task any more. [FromID] finds it
// again. On an embedded local backend it lives as
// long as the program.
func (s *Sandbox) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	running := s.phase == phaseRunning
	s.mu.Unlock()
	if !running {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := s.liftLease(ctx); err != nil {
		return fmt.Errorf("close sandbox: lift its lease: %w", publicError(err))
	}
	if s.savesItself() {
		s.opts.logger.WarnContext(ctx, "a sandbox that is closed is not saved before its end", "sandbox", s.remote.ID())
	}
	return s.leave(phaseDetached)
}

// leave stops the sandbox's background work and gives the connection back.
func (s *Sandbox) leave(next phase) error {
	s.mu.Lock()
	if s.phase != phaseRunning {
		s.mu.Unlock()
		return nil
	}
	s.phase = next
	if next == phaseEnded && s.cause == nil {
		s.cause = fmt.Errorf("%w: it was ended by this program", ErrTerminated)
	}
	s.mu.Unlock()
	if next == phaseEnded {
		forgetRecord(s.client, s.remote.ID())
	}
	s.unkeep()
	s.stop()
	s.tasks.Wait()
	s.closeJupyter()
	s.remote.Detach()
	s.backend.detach(s.remote.ID(), next == phaseDetached)
	return s.disconnect()
}

func (s *Sandbox) connect(ctx context.Context) error {
	backend, err := chooseBackend(s.opts)
	if err != nil {
		return err
	}
	client, _, err := backend.acquire(ctx, s.opts.logger)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.backend, s.client = backend, client
	s.mu.Unlock()
	return nil
}

func (s *Sandbox) disconnect() error {
	s.mu.Lock()
	client := s.client
	s.client = nil
	s.mu.Unlock()
	if client == nil {
		return nil
	}
	return s.backend.release()
}

func (s *Sandbox) enterRunning() {
	s.mu.Lock()
	s.phase = phaseRunning
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.kept, s.unkeep = context.WithCancel(s.stopped)
	s.watch = newWatch()
	s.mu.Unlock()
	s.keepLease(s.kept)
	s.awaitEnd()
}

// running returns the live sandbox, or why there is none.
func (s *Sandbox) running() (*modalclient.Sandbox, error) {
	if s == nil {
		return nil, fmt.Errorf("use sandbox: it is nil: %w", ErrNotStarted)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case phaseNew, phaseStarting:
		return nil, ErrNotStarted
	case phaseEnded:
		if s.cause != nil {
			return nil, fmt.Errorf("use sandbox: %w", s.cause)
		}
		return nil, ErrTerminated
	case phaseDetached:
		return nil, fmt.Errorf("use sandbox: this Sandbox was closed; FromID(%q) connects again: %w", s.remote.ID(), ErrNotStarted)
	}
	return s.remote, nil
}

// callError says what was being done when a call on the sandbox went wrong.
func (s *Sandbox) callError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &TimeoutError{Op: doing, Err: err}
	}
	var ended *modalclient.TerminatedError
	if errors.As(err, &ended) {
		return fmt.Errorf("%s: %w", doing, s.endCause(ended.Exit))
	}
	return fmt.Errorf("%s: %w", doing, publicError(err))
}

// withGrace bounds a call that must be tried even when its context has ended:
// it goes on for at most grace after that.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	free, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(free, func() { timer.Stop() })
	})
	return free, func() { stop(); cancel() }
}
