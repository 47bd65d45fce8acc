//go:build linux

package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Kind says what a tree is.
type Kind int

const (
	// Plain is a tree as programs see it. Mount points inside are copied as
	// empty directories.
	Plain Kind = iota
	// Layer is the upper directory of an overlay: what stands for deleted
	// files is copied, too.
	Layer
)

// Copy copies what the directory src holds, and the directory's own
// attributes, into the empty directory dst. Both are open descriptors and stay
// open. What disappears meanwhile is left out. Sockets and devices are not
// copied. Owners are kept where the caller may. No link is followed, so src may
// change meanwhile as it likes.
func Copy(ctx context.Context, dst, src int, kind Kind) error {
	var stat unix.Stat_t
	if err := unix.Fstat(src, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: ".", Err: err}
	}
	c := &copier{done: ctx.Err, root: dst, kind: kind, device: stat.Dev, links: map[uint64]string{}}
	return c.directory(dst, src, ".", &stat)
}

// maxDepth is how deep a tree may be: every directory on the way down is three
// descriptors.
const maxDepth = 256

type copier struct {
	done   func() error // says when to stop
	depth  int
	root   int // of the copy
	kind   Kind
	device uint64
	links  map[uint64]string // the first name in the copy of each inode with several
}

// directory copies what src holds and then, as that changes them, src's attributes.
func (c *copier) directory(dst, src int, name string, stat *unix.Stat_t) error {
	if c.depth++; c.depth > maxDepth {
		return fmt.Errorf("copy %.64s...: more than %d directories lie in each other", name, maxDepth)
	}
	defer func() { c.depth-- }()
	own, err := openDir(src, ".")
	if err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	entries := os.NewFile(uintptr(own), name)
	defer func() { _ = entries.Close() }()
	for {
		names, err := entries.Readdirnames(someNames)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if err := c.entries(dst, src, name, names); err != nil {
			return err
		}
	}
	return c.attributes(dst, src, name, stat)
}

func (c *copier) entries(dst, src int, dir string, names []string) error {
	for _, n := range names {
		if err := c.done(); err != nil {
			return err
		}
		if err := c.entry(dst, src, path.Join(dir, n)); err != nil && !vanished(err) {
			return err
		}
	}
	return nil
}

func vanished(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "find" && errors.Is(err, unix.ENOENT)
}

// entry copies one name. Errors from looking for it have the Op "find".
func (c *copier) entry(dst, src int, name string) error {
	base := path.Base(name)
	find := func(err error) error { return &fs.PathError{Op: "find", Path: name, Err: err} }
	write := func(err error) error { return &fs.PathError{Op: "copy", Path: name, Err: err} }
	var stat unix.Stat_t
	if err := unix.Fstatat(src, base, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return find(err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		from, err := openDir(src, base)
		if err != nil {
			return find(err)
		}
		defer func() { _ = unix.Close(from) }()
		if err := unix.Mkdirat(dst, base, 0o700); err != nil {
			return write(err)
		}
		to, err := openDir(dst, base)
		if err != nil {
			return write(err)
		}
		defer func() { _ = unix.Close(to) }()
		if c.kind == Plain && stat.Dev != c.device {
			return c.attributes(to, from, name, &stat)
		}
		return c.directory(to, from, name, &stat)
	case unix.S_IFREG:
		if first, ok := c.links[stat.Ino]; ok {
			if err := unix.Linkat(c.root, first, dst, base, 0); err != nil {
				return write(err)
			}
			return nil
		}
		if stat.Nlink > 1 {
			c.links[stat.Ino] = name
		}
		return c.file(dst, src, name, &stat)
	case unix.S_IFLNK:
		target, err := readlink(src, base)
		if err != nil {
			return find(err)
		}
		if err := unix.Symlinkat(target, dst, base); err != nil {
			return write(err)
		}
	case unix.S_IFIFO:
		if err := unix.Mknodat(dst, base, unix.S_IFIFO|stat.Mode&0o7777, 0); err != nil {
			return write(err)
		}
	case unix.S_IFCHR:
		if c.kind != Layer || stat.Rdev != 0 {
			return nil
		}
		if err := Whiteout(dst, base); err != nil {
			return write(err)
		}
		return nil
	default:
		return nil
	}
	if err := setAttributes(dst, base, &stat); err != nil {
		return write(err)
	}
	return nil
}

func (c *copier) file(dst, src int, name string, stat *unix.Stat_t) error {
	base := path.Base(name)
	from, err := unix.Openat(src, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "find", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(from) }()
	var opened unix.Stat_t
	if err := unix.Fstat(from, &opened); err != nil || opened.Mode&unix.S_IFMT != unix.S_IFREG {
		return &fs.PathError{Op: "find", Path: name, Err: unix.ENOENT} // it is another file since
	}
	to, err := unix.Openat(dst, base, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "copy", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(to) }()
	if err := copyData(to, from); err != nil {
		return &fs.PathError{Op: "copy", Path: name, Err: err}
	}
	return c.attributes(to, from, name, stat)
}

// attributes gives an open copy the attributes of its source, in the order in
// which none takes another away: a change of owner takes capabilities of
// programs and set-user-id bits, a change of mode rewrites access control lists.
func (c *copier) attributes(dst, src int, name string, stat *unix.Stat_t) error {
	err := setOwner(dst, "", stat)
	if err == nil {
		err = copyXattrs(dst, src, func(name string) bool { return !isACL(name) && c.means(name) })
	}
	if err == nil {
		err = unix.Fchmod(dst, stat.Mode&0o7777)
	}
	if err == nil {
		err = copyXattrs(dst, src, isACL)
	}
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(dst), []unix.Timespec{stat.Atim, stat.Mtim}, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "copy attributes", Path: name, Err: err}
	}
	return nil
}

// setAttributes sets the owner, mode and times of what cannot be opened for
// that: a symbolic link or a fifo.
func setAttributes(dir int, name string, stat *unix.Stat_t) error {
	if err := setOwner(dir, name, stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(dir, name, stat.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{stat.Atim, stat.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// setOwner sets the owner of name in dir, or of dir itself when name is empty,
// as far as the caller may.
func setOwner(dir int, name string, stat *unix.Stat_t) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err := unix.Fchownat(dir, name, int(stat.Uid), int(stat.Gid), flags)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// Whiteout makes the mark that hides a name of the layers below.
func Whiteout(dir int, name string) error {
	return unix.Mknodat(dir, name, unix.S_IFCHR, 0)
}

// OpenDir opens a directory for Copy. The caller closes it.
func OpenDir(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

func openDir(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(n, 0)]), err
}
