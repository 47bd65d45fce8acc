//go:build linux

package tree

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// mostOpen is how many directories a removal goes down before what lies
	// deeper moves up: each on the way is a descriptor, and whoever made the tree
	// made it as deep as they liked.
	mostOpen = 64
	// someNames are read at a time: a directory may hold any number.
	someNames = 1024
)

// Remove deletes a tree, also one with directories that their owner, the
// caller, may not read or change. It follows no link.
func Remove(path string) error {
	dir, err := OpenDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	if err := RemoveAt(dir, filepath.Base(path)); err != nil {
		return &fs.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// RemoveAt is Remove for a name in an open directory.
func RemoveAt(dir int, name string) error {
	err := unix.Unlinkat(dir, name, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := openOwn(dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := (remover{top: fd}).empty(fd, 1); err != nil {
		return err
	}
	return removeDir(dir, name)
}

// remover removes what a directory holds. Directories that lie deep move there.
type remover struct{ top int }

func (r remover) empty(dir, depth int) error {
	for {
		names, err := someNamesOf(dir)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			err := r.remove(dir, name, depth)
			if errors.Is(err, unix.EACCES) && unix.Fchmod(dir, 0o700) == nil {
				err = r.remove(dir, name, depth)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (r remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return err
	}
	fd, err := openOwn(dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if depth == mostOpen {
		_ = unix.Fchmod(fd, 0o700) // to move it takes the right to write
		return unix.Renameat(dir, name, r.top, rand.Text())
	}
	if err := r.empty(fd, depth+1); err != nil {
		return err
	}
	return removeDir(dir, name)
}

func removeDir(dir int, name string) error {
	err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// openOwn opens a directory whatever its mode.
func openOwn(dir int, name string) (int, error) {
	fd, err := openDir(dir, name)
	if errors.Is(err, unix.EACCES) && unix.Fchmodat(dir, name, 0o700, 0) == nil {
		fd, err = openDir(dir, name)
	}
	return fd, err
}

// someNamesOf reads names from the beginning of a directory.
func someNamesOf(dir int) ([]string, error) {
	own, err := openDir(dir, ".")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), ".")
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(someNames)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}
