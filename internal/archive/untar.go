package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Extract puts what a tar stream holds at a path: the stream of a directory,
// whose first entry is "./", below it, as Untar does; the stream of one file
// becomes that file itself.
func Extract(r io.Reader, target string) error {
	var head bytes.Buffer
	header, err := tar.NewReader(io.TeeReader(r, &head)).Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("unpack to %s: %w", target, err)
	}
	if err != nil { // an empty stream: its sender may say why
		if _, err := io.Copy(io.Discard, r); err != nil {
			return fmt.Errorf("unpack to %s: %w", target, err)
		}
	}
	r = io.MultiReader(&head, r)
	if err != nil || header.Typeflag == tar.TypeDir {
		return Untar(r, target)
	}
	if info, err := os.Lstat(target); err == nil && info.IsDir() {
		return fmt.Errorf("unpack to %s: a file cannot replace a directory", target)
	}
	parent := filepath.Dir(target)
	err = os.MkdirAll(parent, 0o755)
	var dir string
	if err == nil {
		dir, err = os.MkdirTemp(parent, ".unpack-")
	}
	if err != nil {
		return fmt.Errorf("unpack to %s: %w", target, err)
	}
	defer os.RemoveAll(dir)
	if err := Untar(r, dir); err != nil {
		return err
	}
	name, err := local(header.Name)
	if err == nil && filepath.Base(name) != name {
		// Another entry may have made a link of its directory.
		err = fmt.Errorf("entry %q is not one file alone", header.Name)
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, name), target)
	}
	if err != nil {
		return fmt.Errorf("unpack to %s: %w", target, err)
	}
	return nil
}

// Untar unpacks a tar stream below a directory, making it if need be, and
// reads the stream to its end. Nothing outside the directory is written,
// whatever the archive says: it may hold links that point outside, but an
// entry that leads through one is an error. Existing files are replaced, not
// written through. Permission bits and times are kept; owners, set-user-ID
// bits, pipes and devices are not.
func Untar(r io.Reader, dir string) error {
	if err := readTar(r, dir); err != nil {
		return fmt.Errorf("unpack to %s: %w", dir, err)
	}
	return nil
}

func readTar(r io.Reader, dir string) error {
	_, err := os.Stat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{tar: tar.NewReader(r), root: root, ownRoot: made}
	for {
		header, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(header); err != nil {
			return err
		}
	}
	if err := u.finishDirs(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // padding, and the sender's last word
	return err
}

type unpacker struct {
	tar     *tar.Reader
	root    *os.Root
	ownRoot bool // the target did not exist
	dirs    []dirMeta
}

// dirMeta is set when everything is unpacked: a directory may be read-only,
// and its time changes with its entries.
type dirMeta struct {
	name  string
	mode  fs.FileMode
	mtime time.Time
}

func (u *unpacker) entry(header *tar.Header) error {
	name, err := local(header.Name)
	if err != nil {
		return err
	}
	mode := header.FileInfo().Mode().Perm()
	if header.Typeflag == tar.TypeDir {
		if name == "." && !u.ownRoot {
			return nil
		}
		u.dirs = append(u.dirs, dirMeta{name: name, mode: mode, mtime: header.ModTime})
		return u.mkdir(name)
	}
	if name == "." {
		return fmt.Errorf("entry %q is no directory", header.Name)
	}
	switch header.Typeflag {
	case tar.TypeReg:
		return u.file(name, mode, header.ModTime)
	case tar.TypeSymlink:
		if err := u.clear(name); err != nil {
			return err
		}
		return u.root.Symlink(filepath.FromSlash(header.Linkname), name)
	case tar.TypeLink:
		target, err := local(header.Linkname)
		if err != nil {
			return err
		}
		if target == name {
			return fmt.Errorf("entry %q links to itself", header.Name)
		}
		if err := u.clear(name); err != nil {
			return err
		}
		return u.root.Link(target, name)
	}
	return nil
}

// mkdir makes a directory and its parents; a directory that exists stays.
func (u *unpacker) mkdir(name string) error {
	if info, err := u.root.Lstat(name); err == nil && !info.IsDir() {
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	return u.root.MkdirAll(name, 0o755)
}

// clear makes room for an entry that is no directory.
func (u *unpacker) clear(name string) error {
	if err := u.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) file(name string, mode fs.FileMode, mtime time.Time) error {
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, u.tar)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(name, mtime, mtime)
}

func (u *unpacker) finishDirs() error {
	slices.Reverse(u.dirs) // children come after their parents
	for _, dir := range u.dirs {
		info, err := u.root.Lstat(dir.name)
		if err != nil || !info.IsDir() {
			continue // a later entry took its place
		}
		if err := errors.Join(u.root.Chmod(dir.name, dir.mode), u.root.Chtimes(dir.name, dir.mtime, dir.mtime)); err != nil {
			return err
		}
	}
	return nil
}
