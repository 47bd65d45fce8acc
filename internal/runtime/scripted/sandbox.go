package scripted

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

type sandbox struct {
	owner *Runtime
	spec  runtime.Spec
	image runtime.Image
	main  *process

	mu       sync.Mutex
	ended    bool
	running  sync.WaitGroup // handlers
	busy     atomic.Int64
	finished sync.Once
	done     chan struct{}
	cancel   context.CancelFunc
	ctx      context.Context // ends with the sandbox; the parent of every exec's
}

var _ runtime.Sandbox = (*sandbox)(nil)

func newSandbox(owner *Runtime, spec runtime.Spec, image runtime.Image) *sandbox {
	ctx, cancel := context.WithCancel(context.Background())
	s := &sandbox{owner: owner, spec: spec, image: image, done: make(chan struct{}), ctx: ctx, cancel: cancel}
	s.main = newProcess(ctx, runtime.ExecSpec{})
	if !spec.Stays {
		context.AfterFunc(s.main.ctx, s.end)
	}
	return s
}

// end kills everything; done follows once the handlers have returned.
func (s *sandbox) end() {
	s.finished.Do(func() {
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		s.main.exit(runtime.ExitStatus{Signal: sigkill})
		s.cancel()
		go func() {
			s.running.Wait()
			s.owner.forget(s.spec.ID)
			close(s.done)
		}()
	})
}

func (s *sandbox) Main() runtime.Process { return s.main }

func (s *sandbox) Exec(_ context.Context, spec runtime.ExecSpec) (runtime.Process, error) {
	if len(spec.Args) == 0 {
		return nil, fmt.Errorf("exec in sandbox %s: no command", s.spec.ID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, fmt.Errorf("exec in sandbox %s: %w", s.spec.ID, runtime.ErrEnded)
	}
	p := newProcess(s.ctx, spec)
	e := Exec{
		SandboxID: s.spec.ID,
		Args:      slices.Clone(spec.Args),
		Env:       slices.Concat(s.image.Config.Env, s.spec.Env, spec.Env),
		Dir:       cmp.Or(spec.Workdir, s.spec.Workdir, s.image.Config.Workdir, "/"),
		Stdin:     p.stdinReader,
		Stdout:    p.stdoutWriter,
		Stderr:    p.stderrWriter,
	}
	s.busy.Add(1)
	s.running.Go(func() {
		defer s.busy.Add(-1)
		result := s.owner.handler(p.ctx, e)
		if s.ctx.Err() != nil {
			result = Result{Signal: sigkill} // it was not the handler that ended it
		}
		p.exit(runtime.ExitStatus{Code: result.Code, Signal: result.Signal})
	})
	return p, nil
}

func (s *sandbox) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	if s.owner.dial == nil {
		return nil, fmt.Errorf("dial port %d of sandbox %s: %w", port, s.spec.ID, runtime.ErrUnsupported)
	}
	return s.owner.dial(ctx, s.spec.ID, port)
}

func (s *sandbox) Files() runtime.Files { return noFiles{} }

func (s *sandbox) Snapshot(context.Context) (runtime.Image, error) {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	return s.owner.addLocked("snapshot:", s.image.Config), nil
}

func (s *sandbox) SnapshotDir(context.Context, string) (runtime.Image, error) {
	s.owner.mu.Lock()
	defer s.owner.mu.Unlock()
	return s.owner.addLocked("snapshot:", runtime.ImageConfig{}), nil
}

func (s *sandbox) MountImage(ctx context.Context, _, imageID string) error {
	if imageID == "" {
		return nil
	}
	_, err := s.owner.Image(ctx, imageID)
	return err
}

func (s *sandbox) Terminate(ctx context.Context) error {
	s.end()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("terminate sandbox %s: %w", s.spec.ID, ctx.Err())
	}
}

func (s *sandbox) Done() <-chan struct{} { return s.done }
func (s *sandbox) Busy() bool            { return s.busy.Load() > 0 }
func (s *sandbox) Warnings() []string    { return nil }

// noFiles refuses file access: a scripted sandbox has no files.
type noFiles struct{}

func refuse(op, path string) error {
	return &fs.PathError{Op: op, Path: path, Err: runtime.ErrUnsupported}
}

func (noFiles) OpenFile(_ context.Context, path string, _ int, _ fs.FileMode) (runtime.File, error) {
	return nil, refuse("open", path)
}
func (noFiles) Mkdir(_ context.Context, path string, _ bool) error { return refuse("mkdir", path) }
func (noFiles) Remove(_ context.Context, path string, _ bool) error {
	return refuse("remove", path)
}
func (noFiles) ReadDir(_ context.Context, path string) ([]fs.FileInfo, error) {
	return nil, refuse("readdir", path)
}
func (noFiles) Stat(_ context.Context, path string) (fs.FileInfo, error) {
	return nil, refuse("stat", path)
}
