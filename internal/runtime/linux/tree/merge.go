//go:build linux

package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Merge puts the layer src over the layer dst, so that dst is what both were,
// one above the other. Files are linked, not copied: neither layer may be
// written to afterwards.
func Merge(dst, src string) error {
	hiding, err := isOpaque(src)
	if err != nil {
		return err
	}
	if hiding {
		if err := empty(dst); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(src, e.Name()), filepath.Join(dst, e.Name())
		below, err := os.Lstat(to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if e.IsDir() {
			err = mergeDir(to, from, below)
		} else {
			err = replace(to, from, below)
		}
		if err != nil {
			return err
		}
	}
	return copyDirAttributes(dst, src)
}

func mergeDir(to, from string, below fs.FileInfo) error {
	if below != nil && !below.IsDir() {
		// What the lower layer had here, a file or a mark, hides everything
		// further down; so must the directory.
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if below == nil || !below.IsDir() {
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
	}
	if err := Merge(to, from); err != nil {
		return err
	}
	if below != nil && !below.IsDir() {
		return SetOpaque(to)
	}
	return nil
}

func replace(to, from string, below fs.FileInfo) error {
	if below != nil {
		if err := Remove(to); err != nil {
			return err
		}
	}
	return os.Link(from, to)
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, Remove(filepath.Join(dir, e.Name())))
	}
	return err
}

func isOpaque(dir string) (bool, error) {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, opaque, value)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	case err != nil:
		return false, &fs.PathError{Op: "getxattr", Path: dir, Err: err}
	}
	return n == 1 && value[0] == 'y', nil
}

// SetOpaque makes a directory hide that of the layers below.
func SetOpaque(dir string) error {
	if err := unix.Lsetxattr(dir, opaque, []byte{'y'}, 0); err != nil {
		return &fs.PathError{Op: "setxattr", Path: dir, Err: err}
	}
	return nil
}

// copyDirAttributes gives dst what src has; a mark that dst hides what is below
// it stays.
func copyDirAttributes(dst, src string) error {
	from, err := OpenDir(src)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(from) }()
	to, err := OpenDir(dst)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(to) }()
	var stat unix.Stat_t
	if err := unix.Fstat(from, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: src, Err: err}
	}
	c := copier{kind: Layer}
	return c.attributes(to, from, dst, &stat)
}
