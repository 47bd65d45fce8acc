// Package scripted is a runtime whose processes are a Go function. It runs on
// any operating system and isolates nothing: it stands in for real sandboxes
// where a test wants to decide what a command prints and how it ends.
package scripted

import (
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// Exec is one command that a sandbox was asked to run.
type Exec struct {
	SandboxID string
	Args      []string
	Env       []string // "NAME=value": the image's, the sandbox's and the command's own, in this order
	Dir       string
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
}

// Result says how a command ended. The zero value is exit code 0.
type Result struct {
	Code   int
	Signal int // the signal that killed it; Code counts only when it is 0
}

// Handler plays a command. Its context is cancelled when the command is
// signalled or its sandbox ends; what it returns after that is ignored.
type Handler func(ctx context.Context, e Exec) Result

// Dialer connects to a port of a sandbox.
type Dialer func(ctx context.Context, sandboxID string, port uint16) (net.Conn, error)

// Runtime implements runtime.Runtime. Images are recorded and never built,
// volumes hold nothing, and the command a sandbox is started with only waits
// for the sandbox to end.
type Runtime struct {
	handler Handler
	dial    Dialer

	mu        sync.Mutex
	images    map[string]runtime.Image
	volumes   map[string]struct{}
	sandboxes map[string]*sandbox
	lastImage int
	closed    bool
}

// Option changes how a Runtime behaves.
type Option func(*Runtime)

// WithDialer sets what answers connections to a sandbox's ports. Without it they are refused.
func WithDialer(d Dialer) Option { return func(r *Runtime) { r.dial = d } }

// New returns a runtime that plays every exec through handler. A nil handler
// ends every command at once with exit code 0.
func New(handler Handler, options ...Option) *Runtime {
	if handler == nil {
		handler = func(context.Context, Exec) Result { return Result{} }
	}
	r := &Runtime{
		handler:   handler,
		images:    map[string]runtime.Image{},
		volumes:   map[string]struct{}{},
		sandboxes: map[string]*sandbox{},
	}
	for _, option := range options {
		option(r)
	}
	return r
}

var _ runtime.Runtime = (*Runtime)(nil)

// Pull records the reference as an image.
func (r *Runtime) Pull(_ context.Context, ref string, _ runtime.PullOptions) (runtime.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := "ref:" + ref
	image, ok := r.images[id]
	if !ok {
		image = runtime.Image{ID: id}
		r.images[id] = image
	}
	return image, nil
}

// Build records a new image with the given settings; no step runs.
func (r *Runtime) Build(_ context.Context, spec runtime.BuildSpec) (runtime.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.images[spec.Base]; !ok {
		return runtime.Image{}, fmt.Errorf("build on image %s: %w", spec.Base, runtime.ErrNotFound)
	}
	return r.addLocked("built:", spec.Config), nil
}

func (r *Runtime) addLocked(prefix string, config runtime.ImageConfig) runtime.Image {
	r.lastImage++
	image := runtime.Image{ID: prefix + strconv.Itoa(r.lastImage), Config: config}
	r.images[image.ID] = image
	return image
}

// Image returns a recorded image.
func (r *Runtime) Image(_ context.Context, id string) (runtime.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	image, ok := r.images[id]
	if !ok {
		return runtime.Image{}, fmt.Errorf("find image %s: %w", id, runtime.ErrNotFound)
	}
	return image, nil
}

// RemoveImage forgets an image.
func (r *Runtime) RemoveImage(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.images, id)
	return nil
}

// CreateVolume records a volume.
func (r *Runtime) CreateVolume(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.volumes[id] = struct{}{}
	return nil
}

// RemoveVolume forgets a volume.
func (r *Runtime) RemoveVolume(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.volumes, id)
	return nil
}

// VolumeFS returns an empty file system: nothing ever writes to a volume.
func (r *Runtime) VolumeFS(_ context.Context, id string) (fs.FS, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.volumes[id]; !ok {
		return nil, fmt.Errorf("open volume %s: %w", id, runtime.ErrNotFound)
	}
	return embed.FS{}, nil
}

// Start records a sandbox whose main command waits for its end.
func (r *Runtime) Start(ctx context.Context, spec runtime.Spec) (runtime.Sandbox, error) {
	if spec.Prepare != nil {
		if err := spec.Prepare(ctx, noFiles{}); err != nil {
			return nil, fmt.Errorf("start sandbox %s: %w", spec.ID, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("start sandbox %s: the runtime is closed", spec.ID)
	}
	image, ok := r.images[spec.Image]
	if !ok {
		return nil, fmt.Errorf("start sandbox %s on image %s: %w", spec.ID, spec.Image, runtime.ErrNotFound)
	}
	s := newSandbox(r, spec, image)
	r.sandboxes[spec.ID] = s
	return s, nil
}

func (r *Runtime) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sandboxes, id)
}

// Close ends every sandbox and waits until every handler has returned.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	running := slices.Collect(maps.Values(r.sandboxes))
	r.mu.Unlock()
	for _, s := range running {
		s.end()
	}
	for _, s := range running {
		<-s.done
	}
	return nil
}
