//go:build linux

package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Remove deletes a tree, also one with directories that their owner, the
// caller, may not read or change.
func Remove(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if d == nil || !d.IsDir() {
			return nil
		}
		if err == nil { // before its entries are read
			return os.Chmod(p, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(path))
}
