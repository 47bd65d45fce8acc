//go:build linux

package inroot

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a descriptor of a sandbox's root directory. It stays the caller's.
type Root int

// tries bounds how often a path is looked up again: a rename anywhere on the
// machine interrupts a look-up that goes up a directory, and a sandbox can keep
// that up.
const tries = 128

// open looks a path up; it may be relative to the root.
func (r Root) open(path string, flags int, perm uint32) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Mode:    uint64(perm),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range tries {
		fd, err = unix.Openat2(int(r), path, &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fd, err
}

func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Lookup finds a file of any kind, which it does not open: the descriptor is
// one of the path alone.
func (r Root) Lookup(path string) (int, error) {
	fd, err := r.open(path, unix.O_PATH, 0)
	return fd, failed("open", path, err)
}

// LookupDir is Lookup for directories.
func (r Root) LookupDir(path string) (int, error) {
	fd, err := r.open(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	return fd, failed("open", path, err)
}

// Open opens a regular file or a directory, with the flags of os.OpenFile.
func (r Root) Open(path string, flags int, perm fs.FileMode) (int, error) {
	fd, err := r.openFile(path, flags, perm)
	return fd, failed("open", path, err)
}

func (r Root) openFile(path string, flags int, perm fs.FileMode) (int, error) {
	// To open a device or a pipe has effects of its own, so what is there is
	// looked at first, and again once it is open, in case it has changed.
	if flags&os.O_EXCL == 0 {
		there, err := r.open(path, unix.O_PATH, 0)
		if err == nil {
			err = ordinary(there)
			_ = unix.Close(there)
		}
		if err != nil && (!errors.Is(err, unix.ENOENT) || flags&os.O_CREATE == 0) {
			return -1, err
		}
	}
	bits := uint32(0) // the kernel refuses them where nothing is made
	if flags&os.O_CREATE != 0 {
		bits = kernelMode(perm)
	}
	fd, err := r.open(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, bits)
	if err != nil {
		return -1, err
	}
	if err = ordinary(fd); err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ordinary says whether a file may be opened.
func ordinary(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return nil
	default:
		return unix.EOPNOTSUPP
	}
}

// ReadFile reads a regular file of at most limit bytes.
func (r Root) ReadFile(path string, limit int64) ([]byte, error) {
	fd, err := r.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = failed("read", path, unix.EFBIG)
	}
	return b, err
}

// parent opens the directory that a path's last name lies in.
func (r Root) parent(path string) (dir int, name string, err error) {
	above, name := split(path)
	if name == "" || name == "." || name == ".." {
		return -1, "", unix.EINVAL
	}
	dir, err = r.open(above, unix.O_PATH|unix.O_DIRECTORY, 0)
	return dir, name, err
}

// split cuts the last name off a path, which is never cleaned: what ".." means
// depends on the links before it.
func split(path string) (above, name string) {
	path = strings.TrimRight(path, "/")
	at := strings.LastIndexByte(path, '/') + 1
	return "/" + path[:at], path[at:]
}
