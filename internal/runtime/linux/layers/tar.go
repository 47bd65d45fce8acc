//go:build linux

package layers

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMark     = whiteoutPrefix + whiteoutPrefix + ".opq"
)

// unpackTar unpacks a layer of a registry image. No entry leaves dir, whatever
// its name or the links before it say. Devices are left out.
func unpackTar(dir string, content io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	u := unpacker{root: root, dir: dir, times: map[string]time.Time{}}
	archive := tar.NewReader(content)
	for err == nil {
		var h *tar.Header
		if h, err = archive.Next(); err == nil {
			err = u.entry(h, archive)
		}
	}
	if errors.Is(err, io.EOF) {
		err = u.setTimes()
	}
	return errors.Join(err, root.Close())
}

type unpacker struct {
	root  *os.Root
	dir   string
	times map[string]time.Time // of directories, whose contents come later
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return u.attributes(".", h)
	}
	parent, base := path.Split(name)
	parent = path.Clean(parent)
	if err := u.root.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if base == opaqueMark {
		return u.at(parent, func(dir string) error { return tree.SetOpaque(dir + "/.") })
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		return u.at(parent, func(dir string) error { return tree.Whiteout(unix.AT_FDCWD, filepath.Join(dir, hidden)) })
	}
	if err := u.clear(name, h.Typeflag); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		u.times[name] = h.ModTime
	case tar.TypeReg:
		if err := u.file(name, content); err != nil {
			return err
		}
	case tar.TypeLink:
		return u.root.Link(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"), name)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.owner(name, h)
	case tar.TypeFifo:
		err := u.at(parent, func(dir string) error { return unix.Mkfifo(filepath.Join(dir, base), 0o600) })
		if err != nil {
			return err
		}
	default:
		return nil
	}
	return u.attributes(name, h)
}

// clear removes what an entry replaces. A directory stays under a directory.
func (u *unpacker) clear(name string, kind byte) error {
	info, err := u.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() && kind == tar.TypeDir {
		return nil
	}
	if err != nil {
		return err
	}
	return u.root.RemoveAll(name)
}

func (u *unpacker) file(name string, content io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// at calls f with a path that leads to a directory of the tree, whatever
// becomes of the directory's name.
func (u *unpacker) at(name string, f func(dir string) error) error {
	d, err := u.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f(fmt.Sprintf("/proc/self/fd/%d", d.Fd())), d.Close())
}

func (u *unpacker) owner(name string, h *tar.Header) error {
	err := u.root.Lchown(name, h.Uid, h.Gid)
	if errors.Is(err, fs.ErrPermission) {
		return nil // without privileges everything is its user's
	}
	return err
}

// attributes sets owner, mode, time and the capabilities of a program.
func (u *unpacker) attributes(name string, h *tar.Header) error {
	if err := u.owner(name, h); err != nil {
		return err
	}
	if value, ok := h.PAXRecords["SCHILY.xattr.security.capability"]; ok && h.Typeflag == tar.TypeReg {
		err := u.at(name, func(file string) error { return unix.Setxattr(file, "security.capability", []byte(value), 0) })
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	if err := u.root.Chmod(name, h.FileInfo().Mode()); err != nil {
		return err
	}
	return u.root.Chtimes(name, h.ModTime, h.ModTime)
}

func (u *unpacker) setTimes() error {
	for name, t := range u.times {
		if err := u.root.Chtimes(name, t, t); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
