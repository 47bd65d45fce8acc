//go:build linux

package layers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Kind says where an image comes from, and so what to do when the host has
// changed below it.
type Kind string

// The kinds of images.
const (
	Built     Kind = "built"     // made again when it is asked for
	Pulled    Kind = "pulled"    // complete in itself
	Snapshot  Kind = "snapshot"  // cannot be made again
	Directory Kind = "directory" // one directory of a sandbox
)

// Image is what the store knows of an image.
type Image struct {
	ID     string
	Kind   Kind
	Config runtime.ImageConfig
	Layers []string // topmost first
	// Host is the fingerprint of the host whose root file system lies below
	// the layers. Empty: the layers are complete.
	Host string `json:",omitempty"`
	// Ref is what the image was pulled by, to be found again.
	Ref string `json:",omitempty"`
}

// Image returns an image by its ID, or runtime.ErrNotFound. A snapshot that
// was made on another state of the host exists but is an error.
func (s *Store) Image(id string) (Image, error) {
	img, err := s.readImage(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Image{}, fmt.Errorf("image %s: %w", id, runtime.ErrNotFound)
	case err != nil:
		return Image{}, err
	case img.Host == "" || img.Host == s.host.fingerprint:
		return img, nil
	case img.Kind == Snapshot:
		return Image{}, fmt.Errorf("image %s: the snapshot was made on another state of this machine's packages "+
			"(or another machine) and cannot be restored on this one: fingerprint %s, now %s", id, img.Host, s.host.fingerprint)
	default:
		return Image{}, fmt.Errorf("image %s: made before this machine's packages changed: %w", id, runtime.ErrNotFound)
	}
}

func (s *Store) readImage(id string) (Image, error) {
	if err := checkID("image", id); err != nil {
		return Image{}, err
	}
	b, err := os.ReadFile(s.path("images", id+".json"))
	if err != nil {
		return Image{}, err
	}
	var img Image
	if err := json.Unmarshal(b, &img); err != nil {
		return Image{}, fmt.Errorf("read image %s: %w", id, err)
	}
	return img, nil
}

// put writes an image's file in one step, when all of its layers are on the
// disk. The store's lock is held.
func (s *Store) put(img Image) error {
	b, err := json.Marshal(img)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	unfinished := s.path("images", img.ID+".new")
	if err := os.WriteFile(unfinished, b, 0o644); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	return os.Rename(unfinished, s.path("images", img.ID+".json"))
}

func (s *Store) sync() error {
	dir, err := os.Open(s.path("images"))
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(dir.Fd())))
}

// RemoveImage forgets an image and deletes the layers that nothing else needs.
func (s *Store) RemoveImage(id string) error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkID("image", id); err != nil {
		return err
	}
	err = os.Remove(s.path("images", id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("image %s: %w", id, runtime.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	rest, err := s.images()
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	return s.sweepLayers(rest)
}

// Find returns the image that was pulled by a reference, or runtime.ErrNotFound.
func (s *Store) Find(ref string) (Image, error) {
	all, err := s.images()
	if err != nil {
		return Image{}, fmt.Errorf("find image %s: %w", ref, err)
	}
	for _, img := range all {
		if img.Ref == ref && (img.Host == "" || img.Host == s.host.fingerprint) {
			return img, nil
		}
	}
	return Image{}, fmt.Errorf("image %s: %w", ref, runtime.ErrNotFound)
}

// Derive makes an image with the layers of another and settings of its own.
func (s *Store) Derive(img Image, config runtime.ImageConfig) (Image, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	derived := Image{ID: "im-" + newID(), Kind: img.Kind, Config: config, Layers: img.Layers, Host: img.Host}
	return derived, s.put(derived)
}

// images lists every image.
func (s *Store) images() ([]Image, error) {
	entries, err := os.ReadDir(s.path("images"))
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		img, err := s.readImage(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, img)
	}
	return all, nil
}

// sweepImages removes built images that the host has left behind, and with it
// every program: the base that they were made on is gone. It returns the others.
func (s *Store) sweepImages() ([]Image, error) {
	all, err := s.images()
	if err != nil {
		return nil, err
	}
	var rest []Image
	for _, img := range all {
		if img.Kind == Built && img.Host != "" && img.Host != s.host.fingerprint {
			if _, err := os.Stat(s.path("bases", img.Host)); errors.Is(err, fs.ErrNotExist) {
				if err := os.Remove(s.path("images", img.ID+".json")); err != nil {
					return nil, err
				}
				continue
			}
		}
		rest = append(rest, img)
	}
	return rest, nil
}

// sweepLayers removes layers that neither one of the images, which are all, nor
// a sandbox needs. The store's lock is held exclusively.
func (s *Store) sweepLayers(images []Image) error {
	needed := map[string]bool{}
	for _, img := range images {
		for _, l := range img.Layers {
			needed[l] = true
		}
	}
	for _, kind := range []string{"sandboxes", "building"} {
		owners, err := os.ReadDir(s.path(kind))
		if err != nil {
			return err
		}
		for _, o := range owners {
			layers, err := s.uses(kind, o.Name())
			if err != nil {
				return err
			}
			for _, l := range layers {
				needed[l] = true
			}
		}
	}
	layers, err := os.ReadDir(s.path("layers"))
	if err != nil {
		return err
	}
	for _, l := range layers {
		if !needed[l.Name()] {
			err = errors.Join(err, tree.Remove(s.path("layers", l.Name())))
		}
	}
	return err
}

// use notes in a workspace that it needs layers. The store's lock is held.
func (w *Workspace) use(layers []string) error {
	f, err := os.OpenFile(w.Dir+"/uses", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(layers, "\n") + "\n")
	return errors.Join(err, f.Close())
}

func (s *Store) uses(kind, owner string) ([]string, error) {
	b, err := os.ReadFile(s.path(kind, owner, "uses"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return slices.DeleteFunc(strings.Split(string(b), "\n"), func(l string) bool { return l == "" }), err
}
