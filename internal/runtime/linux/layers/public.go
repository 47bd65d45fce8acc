//go:build linux

package layers

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// public reports whether every user of the host may read a file.
func public(mode fs.FileMode) bool {
	need := fs.FileMode(0o004)
	if mode.IsDir() {
		need = 0o005
	}
	return mode&fs.ModeSymlink != 0 || mode.Perm()&need == need
}

// lstat is for all of the host's files. Of os.Lstat a test program notes every
// name, and the go command resolves each of them, which takes minutes.
func lstat(path string, info *unix.Stat_t) error {
	for {
		if err := unix.Lstat(path, info); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// fileMode is as much of a file's mode as public asks for.
func fileMode(info unix.Stat_t) fs.FileMode {
	mode := fs.FileMode(info.Mode) & fs.ModePerm
	switch info.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	}
	return mode
}

// publicCopier copies what every user of the host may read.
type publicCopier struct {
	from, to string
	skip     func(path string) bool // relative to from
}

// copy copies a file or a tree, if it is there. Directories on the way to it
// are like the host's.
func (c *publicCopier) copy(ctx context.Context, name string) error {
	if err := c.parents(filepath.Dir(name)); err != nil || c.hidden(filepath.Dir(name)) {
		return err
	}
	return filepath.WalkDir(filepath.Join(c.from, name), func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone
		}
		if c.skip(rel) || !public(info.Mode()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return c.one(rel, info)
	})
}

// hidden reports whether a directory did not go along.
func (c *publicCopier) hidden(name string) bool {
	_, err := os.Lstat(filepath.Join(c.to, name))
	return err != nil
}

func (c *publicCopier) parents(name string) error {
	if name == "." || !c.hidden(name) {
		return nil
	}
	if err := c.parents(filepath.Dir(name)); err != nil || c.hidden(filepath.Dir(name)) {
		return err
	}
	info, err := os.Lstat(filepath.Join(c.from, name))
	if err != nil || !info.IsDir() || !public(info.Mode()) || c.skip(name) {
		return nil
	}
	return c.one(name, info)
}

func (c *publicCopier) one(name string, info fs.FileInfo) error {
	from, to := filepath.Join(c.from, name), filepath.Join(c.to, name)
	switch {
	case info.IsDir():
		if err := makeDir(to, info.Mode().Perm()|0o700); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return ignoreNotExist(err)
		}
		if err := os.Symlink(target, to); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case info.Mode().IsRegular():
		if err := copyFile(to, from, info); err != nil {
			return err
		}
	default:
		return nil
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		err := os.Lchown(to, int(stat.Uid), int(stat.Gid))
		if err != nil && !notOurs(err) {
			return ignoreNotExist(err)
		}
	}
	return nil
}

// notOurs reports whether an owner is not ours to give: another user's, or one
// that the user namespace of this program does not know.
func notOurs(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EINVAL)
}

func copyFile(to, from string, info fs.FileInfo) error {
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(info.Mode().Perm()), dst.Close())
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

func writeFile(path, content string, mode fs.FileMode) error {
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
