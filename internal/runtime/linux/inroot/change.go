//go:build linux

package inroot

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Mkdir makes a directory.
func (r Root) Mkdir(path string) error {
	dir, name, err := r.parent(path)
	if err == nil {
		err = unix.Mkdirat(dir, name, 0o755)
		_ = unix.Close(dir)
	}
	return failed("mkdir", path, err)
}

// MkdirAll makes a directory and those above it that are missing, and returns
// a descriptor of its path.
func (r Root) MkdirAll(path string) (int, error) {
	fd, err := r.mkdirAll(path)
	return fd, failed("mkdir", path, err)
}

func (r Root) mkdirAll(path string) (int, error) {
	fd, err := r.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	above, name := split(path)
	if name == "" || name == "." || name == ".." {
		return -1, err
	}
	dir, err := r.mkdirAll(above)
	if err != nil {
		return -1, err
	}
	err = unix.Mkdirat(dir, name, 0o755)
	_ = unix.Close(dir)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return r.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// OwnDir is a directory of the root's own, not a link: whatever else has the
// name makes room for it. It returns a descriptor of its path.
func (r Root) OwnDir(name string) (int, error) {
	flags := unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := r.open(name, flags, 0)
	if err == nil {
		return fd, nil
	}
	err = unix.Unlinkat(int(r), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		err = unix.Mkdirat(int(r), name, 0o755)
	}
	if err == nil {
		fd, err = r.open(name, flags, 0)
	}
	return fd, failed("mkdir", name, err)
}

// Remove deletes a file or an empty directory, or a whole tree.
func (r Root) Remove(path string, all bool) error {
	dir, name, err := r.parent(path)
	if err != nil {
		return failed("remove", path, err)
	}
	defer func() { _ = unix.Close(dir) }()
	var stat unix.Stat_t
	if err = unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		switch {
		case all:
			err = tree.RemoveAt(dir, name)
		case stat.Mode&unix.S_IFMT == unix.S_IFDIR:
			err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		default:
			err = unix.Unlinkat(dir, name, 0)
		}
	}
	return failed("remove", path, err)
}

// Symlink makes a symbolic link in place of whatever file has its name.
func (r Root) Symlink(target, path string) error {
	dir, name, err := r.parent(path)
	if err != nil {
		return failed("symlink", path, err)
	}
	defer func() { _ = unix.Close(dir) }()
	var stat unix.Stat_t
	if unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.Unlinkat(dir, name, 0)
	}
	if err == nil {
		err = unix.Symlinkat(target, dir, name)
	}
	return failed("symlink", path, err)
}

// Replace writes a file anew, in place of whatever has its name, unless it has
// the content already. Missing directories are made.
func (r Root) Replace(path, content string) error {
	above, name := split(path)
	dir, err := r.MkdirAll(above)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	var stat unix.Stat_t
	err = unix.Fstatat(dir, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG && stat.Size == int64(len(content)) {
		if old, err := Root(dir).ReadFile(name, stat.Size); err == nil && string(old) == content {
			return nil
		}
	}
	if err = tree.RemoveAt(dir, name); err != nil {
		return failed("remove", path, err)
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return failed("create", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}
