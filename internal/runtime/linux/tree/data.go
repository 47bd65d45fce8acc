//go:build linux

package tree

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// copyData copies a file's bytes and leaves its holes holes.
func copyData(dst, src int) error {
	if unix.IoctlFileClone(dst, src) == nil {
		return nil
	}
	size, err := unix.Seek(src, 0, unix.SEEK_END)
	if err != nil {
		return err
	}
	for end := int64(0); end < size; {
		start, err := unix.Seek(src, end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to the end
		}
		if err != nil {
			return err
		}
		if end, err = unix.Seek(src, start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(dst, src, start, end); err != nil {
			return err
		}
	}
	return unix.Ftruncate(dst, size)
}

func copyRange(dst, src int, from, to int64) error {
	for in, out := from, from; in < to; {
		n, err := unix.CopyFileRange(src, &in, dst, &out, int(min(to-in, 1<<30)), 0)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			return copyBytes(dst, src, in, to)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return nil // the file shrank
		}
	}
	return nil
}

func copyBytes(dst, src int, from, to int64) error {
	buf := make([]byte, min(to-from, 1<<20))
	for from < to {
		n, err := unix.Pread(src, buf[:min(to-from, int64(len(buf)))], from)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if _, err := unix.Pwrite(dst, buf[:n], from); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

const (
	overlayPrefix = "user.overlay."
	opaque        = overlayPrefix + "opaque"
)

// means reports whether an extended attribute means anything in another place.
// Of the overlay's own only the one that hides what lies below does.
func (c *copier) means(name string) bool {
	return !strings.HasPrefix(name, overlayPrefix) || c.kind == Layer && name == opaque
}

func isACL(name string) bool { return strings.HasPrefix(name, "system.posix_acl_") }

// copyXattrs copies the extended attributes that are wanted, as far as the
// caller may set them.
func copyXattrs(dst, src int, wanted func(name string) bool) error {
	names, err := xattrNames(src)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !wanted(name) {
			continue
		}
		value, err := xattr(src, name)
		if err != nil {
			continue // removed meanwhile, or not for us
		}
		err = unix.Fsetxattr(dst, name, value, 0)
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

func xattrNames(fd int) ([]string, error) {
	size, err := unix.Flistxattr(fd, nil)
	if errors.Is(err, unix.EOPNOTSUPP) || size == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if size, err = unix.Flistxattr(fd, buf); err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(buf[:size]), func(r rune) bool { return r == 0 }), nil
}

func xattr(fd int, name string) ([]byte, error) {
	size, err := unix.Fgetxattr(fd, name, nil)
	if err != nil {
		return nil, err
	}
	value := make([]byte, size)
	size, err = unix.Fgetxattr(fd, name, value)
	return value[:max(size, 0)], err
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
