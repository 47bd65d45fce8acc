//go:build linux

package layers

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Sandbox is the directory of a running sandbox.
type Sandbox struct {
	*Workspace
	Image    Image
	Overlays []mounter.Overlay // the root first

	mu    sync.Mutex
	mount int // how many were mounted later
}

// NewSandbox makes the directories of a sandbox on an image.
func (s *Store) NewSandbox(id string, img Image) (*Sandbox, error) {
	if err := checkID("sandbox", id); err != nil {
		return nil, err
	}
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w, err := s.newWorkspace("sandboxes", id)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("sandbox %s: exists already", id)
	}
	if err != nil {
		return nil, err
	}
	box := &Sandbox{Workspace: w, Image: img}
	if box.Overlays, err = box.place(img, "upper", "/"); err != nil {
		return nil, errors.Join(err, w.Remove())
	}
	return box, nil
}

// place makes upper directories in b.Dir/name and says how an image is mounted
// at target with them. The store's lock is held.
func (b *Sandbox) place(img Image, name, target string) ([]mounter.Overlay, error) {
	if err := b.use(img.Layers); err != nil {
		return nil, err
	}
	for _, l := range img.Layers {
		if _, err := os.Stat(b.store.path("layers", l)); err != nil {
			return nil, fmt.Errorf("image %s: a layer is missing: %w", img.ID, errors.Join(err, runtime.ErrNotFound))
		}
	}
	overlays := b.store.lowers(img)
	for i := range overlays {
		o := &overlays[i]
		part := rootName
		if o.Target != "/" {
			part = strings.TrimPrefix(o.Target, "/")
		}
		o.Target = filepath.Join(target, o.Target)
		o.Upper = filepath.Join(b.Within, name, part)
		o.Work = filepath.Join(b.Within, name+".work", part)
		for _, dir := range []string{o.Upper, o.Work} {
			if err := makeDir(b.store.path(dir), 0o755); err != nil {
				return nil, err
			}
		}
		if err := inherit(b.store.path(o.Upper), b.store.Path(o.Lower[0])); err != nil {
			return nil, err
		}
	}
	return overlays, nil
}

// lowers says what lies below the upper directory of each overlay of an image.
func (s *Store) lowers(img Image) []mounter.Overlay {
	root := mounter.Overlay{Target: "/", Lower: s.having(img.Layers, rootName)}
	if img.Host == "" {
		return []mounter.Overlay{root}
	}
	base := filepath.Join("bases", img.Host)
	root.Lower = append(root.Lower, filepath.Join(base, rootName))
	overlays := []mounter.Overlay{root}
	for _, top := range s.host.tops {
		o := mounter.Overlay{Target: "/" + top, Lower: s.having(img.Layers, top)}
		for _, cover := range s.covers(base) {
			if _, err := os.Stat(s.path(cover, top)); err == nil {
				o.Lower = append(o.Lower, filepath.Join(cover, top))
			}
		}
		o.Lower = append(o.Lower, "/"+top)
		overlays = append(overlays, o)
	}
	return overlays
}

// covers are what lies on the host's files, the topmost first.
func (s *Store) covers(base string) []string {
	if mask := s.mask.Load(); mask != nil {
		return []string{filepath.Join(mask.Within, maskName), base}
	}
	return []string{base}
}

func (s *Store) having(layers []string, part string) []string {
	var dirs []string
	for _, l := range layers {
		dir := filepath.Join("layers", l, part)
		if _, err := os.Lstat(s.path(dir)); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Path is the absolute form of a path relative to the store.
func (s *Store) Path(dir string) string {
	if filepath.IsAbs(dir) {
		return dir
	}
	return s.path(dir)
}

// inherit gives the root of an upper directory the mode and owner of what it
// covers: an overlay takes them from the top.
func inherit(upper, lower string) error {
	var stat unix.Stat_t
	if err := unix.Stat(lower, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: lower, Err: err}
	}
	if err := os.Chown(upper, int(stat.Uid), int(stat.Gid)); err != nil && !notOurs(err) {
		return err
	}
	return unix.Chmod(upper, stat.Mode&0o7777)
}

// Mount prepares an image's tree for a place in the running sandbox. With no
// image it is an empty directory.
func (b *Sandbox) Mount(img *Image, target string) ([]mounter.Overlay, []mounter.Bind, error) {
	unlock, err := b.store.lock(unix.LOCK_SH)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	b.mu.Lock()
	b.mount++
	name := "mount" + strconv.Itoa(b.mount)
	b.mu.Unlock()
	if img != nil {
		overlays, err := b.place(*img, name, target)
		return overlays, nil, err
	}
	if err := makeDir(filepath.Join(b.Dir, name), 0o755); err != nil {
		return nil, nil, err
	}
	return nil, []mounter.Bind{{Source: filepath.Join(b.Within, name), Target: target}}, nil
}

// Keep turns what an ended sandbox has written into the top layer of a new
// image. Ref is what Find will know it by, if anything.
func (b *Sandbox) Keep(config runtime.ImageConfig, ref string) (Image, error) {
	img := Image{Kind: Built, Config: config, Layers: b.Image.Layers, Host: b.Image.Host, Ref: ref}
	return b.store.commit(img, filepath.Join(b.Dir, "upper"))
}

// Building is a layer in the making.
type Building struct {
	*Workspace
}

// NewLayer starts an empty layer.
func (s *Store) NewLayer() (*Building, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w, err := s.newWorkspace("building", newID())
	if err != nil {
		return nil, err
	}
	return &Building{Workspace: w}, nil
}

// Part returns a directory of the layer: "/" is the root.
func (l *Building) Part(target string) (string, error) {
	part := strings.Trim(target, "/")
	if part == "" {
		part = rootName
	}
	dir := filepath.Join(l.Dir, "layer", part)
	return dir, makeDir(dir, 0o755)
}

// Commit makes the layer the topmost of a new image.
func (l *Building) Commit(img Image) (Image, error) {
	return l.store.commit(img, filepath.Join(l.Dir, "layer"))
}

// commitAll makes n layers, in the directories 0 and so on, a new image.
func (l *Building) commitAll(n int, img Image) (Image, error) {
	var dirs []string
	for i := range n {
		dirs = append(dirs, filepath.Join(l.Dir, strconv.Itoa(i)))
	}
	return l.store.commit(img, dirs...)
}

// commit moves finished layers, lowest first, to their places and writes the
// image. The directories that a layer was made in still refer to those below.
func (s *Store) commit(img Image, dirs ...string) (Image, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	img.ID = "im-" + newID()
	for _, dir := range dirs {
		id := newID()
		if err := os.Rename(dir, s.path("layers", id)); err != nil {
			return Image{}, fmt.Errorf("keep layer: %w", err)
		}
		img.Layers = append([]string{id}, img.Layers...)
	}
	if len(img.Layers)%maxDepth == 0 {
		flat, err := s.flatten(img.Layers)
		switch {
		case err == nil:
			img.Layers = flat
		case len(img.Layers) > 6*maxDepth: // the kernel mounts 500
			return Image{}, err
		default:
			s.log.Warn("keep many layers", slog.String("image", img.ID), slog.Any("cause", err))
		}
	}
	return img, s.put(img)
}

// maxDepth is how many layers an image may have before they become one. An old
// kernel takes the names of about a hundred in a mount, and looking a file up
// takes the longer the more there are.
const maxDepth = 64

func (s *Store) flatten(layers []string) ([]string, error) {
	id := newID()
	for i := len(layers) - 1; i >= 0; i-- {
		parts, err := os.ReadDir(s.path("layers", layers[i]))
		if err != nil {
			return nil, fmt.Errorf("merge layers: %w", err)
		}
		for _, p := range parts {
			to := s.path("layers", id, p.Name())
			if err := makeDir(to, 0o755); err != nil {
				return nil, fmt.Errorf("merge layers: %w", err)
			}
			if err := tree.Merge(to, s.path("layers", layers[i], p.Name())); err != nil {
				return nil, fmt.Errorf("merge layers: %w", err)
			}
		}
	}
	return []string{id}, nil
}

// makeDir makes a directory and its parents, with a mode that the process's
// umask does not change.
func makeDir(dir string, mode fs.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}
