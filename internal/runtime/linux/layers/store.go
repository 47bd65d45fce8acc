//go:build linux

package layers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// rootName is the directory of a layer that holds the root itself.
const rootName = "_"

// Store is a directory of layers, images, volumes and sandboxes.
type Store struct {
	dir  string
	host *host
	log  *slog.Logger

	mirror *name.Registry // in place of the default registry; nil = none

	base    sync.Mutex // guards release and ready, and the base while it is made
	release func()     // of the base's lock; nil until there is one
	ready   bool       // the base is there, with its mask

	mask atomic.Pointer[Workspace] // lies on the base; nil = hides nothing
}

// Open opens a store and removes what programs left that ended without doing
// so. A missing directory is made. Privileged says that sandboxes keep the
// owners of files, as root's do. The mirror, as HOST or HOST:PORT, stands in
// for the registry that a reference means when it names none; "" = none does.
func Open(dir string, privileged bool, mirror string, log *slog.Logger) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := CheckPlace(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	for _, sub := range []string{"bases", "layers", "images", "volumes", "sandboxes", "building"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil { // no other user of the host looks into sandboxes
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	// A sandbox's first process looks paths up on its own.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	host, err := describeHost(privileged)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, host: host, log: log}
	if mirror != "" {
		registry, err := name.NewRegistry(mirror)
		if err != nil {
			return nil, fmt.Errorf("open store: registry mirror: %w", err)
		}
		s.mirror = &registry
	}
	if err := s.sweep(); err != nil {
		s.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// Dir is the directory of the store, absolute and without symbolic links.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// checkID keeps names that come from outside from leaving their directory.
func checkID(kind, id string) error {
	valid := len(id) > 0 && len(id) <= 128 && id[0] != '.' && id[0] != '-'
	for _, c := range id {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '.', c == '_', c == '-':
		default:
			valid = false
		}
	}
	if !valid {
		return fmt.Errorf("%s %q: not a valid name", kind, id)
	}
	return nil
}

// newID returns a name that nothing else has. It is short because mount options
// of old kernels hold one for each layer in a page.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// lock takes the lock of the store, shared or exclusive, and returns what
// releases it.
func (s *Store) lock(how int) (func(), error) { return lockFile(s.path("lock"), how) }

func lockFile(path string, how int) (func(), error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for {
		err := unix.Flock(fd, how)
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = unix.Close(fd)
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}

// sweep removes the sandboxes of programs that are gone, unfinished work, and
// what nothing refers to.
func (s *Store) sweep() error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.standOnBase(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, kind := range []string{"sandboxes", "building"} {
		entries, err := os.ReadDir(s.path(kind))
		if err != nil {
			return err
		}
		for _, e := range entries {
			s.sweepAbandoned(s.path(kind, e.Name()))
		}
	}
	if err := s.sweepBases(); err != nil {
		return err
	}
	images, err := s.sweepImages()
	if err != nil {
		return err
	}
	return s.sweepLayers(images)
}

// sweepAbandoned removes a directory whose owner no longer lives.
func (s *Store) sweepAbandoned(dir string) {
	release, err := lockFile(filepath.Join(dir, "lock"), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return // in use
	}
	defer release()
	if err := tree.Remove(dir); err != nil {
		s.log.Warn("remove what a program left", slog.String("dir", dir), slog.Any("cause", err))
	}
}

// Workspace is a directory that belongs to this program while it is open.
type Workspace struct {
	ID      string
	Dir     string
	Within  string // Dir, relative to the store
	store   *Store
	release func()
}

// newWorkspace makes a directory below sandboxes or building. The store's lock
// is held, so that no sweep comes between.
func (s *Store) newWorkspace(kind, id string) (*Workspace, error) {
	w := &Workspace{ID: id, Dir: s.path(kind, id), Within: filepath.Join(kind, id), store: s}
	if err := os.Mkdir(w.Dir, 0o755); err != nil {
		return nil, err
	}
	release, err := lockFile(filepath.Join(w.Dir, "lock"), unix.LOCK_EX)
	if err != nil {
		return nil, errors.Join(err, os.Remove(w.Dir))
	}
	w.release = release
	return w, nil
}

// Remove deletes the directory. It may be called again. A sweep that comes
// between would find the lock gone and take the rest for abandoned.
func (w *Workspace) Remove() error {
	unlock, err := w.store.lock(unix.LOCK_SH)
	if err == nil {
		err = tree.Remove(w.Dir)
		unlock()
	}
	w.release()
	w.release = func() {}
	return err
}
