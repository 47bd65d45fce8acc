//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
)

// Config configures New.
type Config struct {
	// Dir keeps layers, images, volumes and running sandboxes. It may be
	// shared by several programs of one user. It must not lie on an overlay
	// or network file system.
	Dir string
	// Logger takes what happens beside the calls. Nil discards it.
	Logger *slog.Logger
	// AllowHosts are addresses that every sandbox reaches although they are
	// private or this machine's own.
	AllowHosts []netip.AddrPort
	// RegistryMirror is the registry, as HOST or HOST:PORT, that images come
	// from whose reference names none. It is never shown credentials.
	// "" = Docker Hub.
	RegistryMirror string
}

// Runtime runs sandboxes on this machine.
type Runtime struct {
	cfg        Config
	log        *slog.Logger
	store      *layers.Store
	privileges guest.Privileges
	cgroups    *cgroups
	mounter    mounter.Mounter
	budget     *network.Budget

	building sync.Mutex // one image of a reference at a time

	alive  context.Context // until Close
	cancel context.CancelFunc

	mu        sync.Mutex
	closed    bool
	sandboxes map[string]*sandbox
	starting  sync.WaitGroup
}

var _ runtime.Runtime = (*Runtime)(nil)

// New opens the directory and removes what programs left there that ended
// without doing so. It starts no sandbox.
func New(cfg Config) (*Runtime, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	privileges := privilegesHere()
	store, err := layers.Open(cfg.Dir, privileges != guest.Mapped, cfg.RegistryMirror, cfg.Logger)
	if err != nil {
		return nil, err
	}
	groups := findCgroups()
	if err := groups.sweep(); err != nil {
		cfg.Logger.Warn("remove control groups of an ended program", slog.Any("cause", err))
	}
	var descriptors unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &descriptors); err != nil {
		return nil, fmt.Errorf("read limit of descriptors: %w", err)
	}
	alive, cancel := context.WithCancel(context.Background())
	r := &Runtime{
		alive:      alive,
		cancel:     cancel,
		cfg:        cfg,
		log:        cfg.Logger,
		store:      store,
		privileges: privileges,
		cgroups:    groups,
		budget:     network.NewBudget(descriptors.Cur),
		sandboxes:  map[string]*sandbox{},
	}
	go r.mounter.Begin() // while whoever wants a sandbox still makes up its image
	return r, nil
}

// privilegesHere says what sandboxes can be given on this machine.
func privilegesHere() guest.Privileges {
	if os.Geteuid() != 0 {
		return guest.Mapped
	}
	_, err := os.Stat("/proc/self/ns/user")
	most, readErr := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil || readErr == nil && string(most) == "0\n" {
		return guest.Host
	}
	return guest.Identity
}

// Image returns a stored image.
func (r *Runtime) Image(ctx context.Context, id string) (runtime.Image, error) {
	img, err := r.image(ctx, id)
	return runtime.Image{ID: img.ID, Config: img.Config}, err
}

// image also finds the one image that is not stored: the host itself.
func (r *Runtime) image(ctx context.Context, id string) (layers.Image, error) {
	if id == r.store.HostImageID() {
		return r.store.HostImage(ctx)
	}
	img, err := r.store.Image(id)
	if err != nil || img.Host == "" {
		return img, err
	}
	if _, err := r.store.HostImage(ctx); err != nil {
		return layers.Image{}, err
	}
	return r.store.Image(id) // now no other program sweeps it
}

// RemoveImage forgets an image. The host's own stays.
func (r *Runtime) RemoveImage(_ context.Context, id string) error {
	if id == r.store.HostImageID() {
		return nil
	}
	return r.store.RemoveImage(id)
}

// CreateVolume makes an empty volume.
func (r *Runtime) CreateVolume(_ context.Context, id string) error { return r.store.CreateVolume(id) }

// RemoveVolume deletes a volume and its files.
func (r *Runtime) RemoveVolume(_ context.Context, id string) error { return r.store.RemoveVolume(id) }

// VolumeFS reads a volume's files.
func (r *Runtime) VolumeFS(_ context.Context, id string) (fs.FS, error) { return r.store.VolumeFS(id) }

var errClosed = errors.New("runtime is closed")

// enter counts a sandbox that is being started. Close waits for leave.
func (r *Runtime) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	r.starting.Add(1)
	return nil
}

// Close ends every sandbox and waits for them.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.starting.Wait()
	r.mu.Lock()
	var running []*sandbox
	for _, s := range r.sandboxes {
		running = append(running, s)
	}
	r.mu.Unlock()
	var errs []error
	for _, s := range running {
		s.kill()
	}
	for _, s := range running {
		<-s.done
		errs = append(errs, s.err)
	}
	r.mounter.Close()
	r.store.Close()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close runtime: %w", err)
	}
	return nil
}

// HostImage is the machine's own root file system as an image.
func (r *Runtime) HostImage(ctx context.Context) (runtime.Image, error) {
	img, err := r.store.HostImage(ctx)
	return runtime.Image{ID: img.ID, Config: img.Config}, err
}
