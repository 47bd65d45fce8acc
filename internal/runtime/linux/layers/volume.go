//go:build linux

package layers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// CreateVolume makes an empty volume; an existing one is left as it is.
func (s *Store) CreateVolume(id string) error {
	if err := checkID("volume", id); err != nil {
		return err
	}
	err := os.Mkdir(s.path("volumes", id), 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	return os.Chmod(s.path("volumes", id), 0o755)
}

// Volume returns the directory of a volume, or runtime.ErrNotFound.
func (s *Store) Volume(id string) (string, error) {
	if err := checkID("volume", id); err != nil {
		return "", err
	}
	dir := s.path("volumes", id)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("volume %s: %w", id, runtime.ErrNotFound)
	}
	return dir, nil
}

// RemoveVolume deletes a volume and its files.
func (s *Store) RemoveVolume(id string) error {
	dir, err := s.Volume(id)
	if err != nil {
		return err
	}
	return tree.Remove(dir)
}

// VolumeFS reads a volume's files without leaving it. It holds a descriptor
// until it is collected.
func (s *Store) VolumeFS(id string) (fs.FS, error) {
	dir, err := s.Volume(id)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	return root.FS(), nil
}
