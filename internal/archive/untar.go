package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options says what Untar and Extract take.
type Options struct {
	// OuterLinks keeps symbolic links that lead out of the target, which whoever
	// reads the result would follow. By default they are skipped.
	OuterLinks bool
	Skipped    Skipped
}

// Extract puts what a tar stream holds at a path: the stream of a directory,
// whose first entry is "./", below it, as Untar does; the stream of one file
// becomes that file itself, in place of a file or a link, but of nothing else.
func Extract(r io.Reader, target string, o Options) error {
	var head bytes.Buffer
	header, err := tar.NewReader(io.TeeReader(r, &head)).Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("unpack to %s: %w", target, err)
	}
	if err != nil { // an empty stream: its sender may say why
		if err := drain(r); err != nil {
			return fmt.Errorf("unpack to %s: %w", target, err)
		}
	}
	r = io.MultiReader(&head, r)
	if err != nil || header.Typeflag == tar.TypeDir {
		return Untar(r, target, o)
	}
	if info, err := os.Lstat(target); err == nil && !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("unpack to %s: a file cannot replace %s", target, Kind(info.Mode()))
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
	if err := Untar(r, dir, o); err != nil {
		return err
	}
	name, err := local(header.Name)
	if err == nil && filepath.Base(name) != name {
		// Another entry may have made a link of its directory.
		err = fmt.Errorf("entry %q is not one file alone", header.Name)
	}
	if err == nil {
		err = moveFile(filepath.Join(dir, name), target)
	}
	if err != nil {
		return fmt.Errorf("unpack to %s: %w", target, err)
	}
	return nil
}

// moveFile moves what the sender called one file, if it is one.
func moveFile(from, to string) error {
	info, err := os.Lstat(from)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("what came is %s", Kind(info.Mode()))
	}
	if err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Untar unpacks a tar stream below a directory, making it if need be, and
// reads the stream to its end. Nothing outside the directory is written,
// whatever the archive says: it takes regular files, directories, and links
// that stay inside. An entry whose path leads out through a link is an error.
// Existing files are replaced, not written through; zeros become holes.
// Permission bits and times are kept; owners, set-user-ID bits, pipes, devices
// and outer links are not. What one stream may hold is bounded: entries, the
// length of names, holes, and the room that is left on the disk.
func Untar(r io.Reader, dir string, o Options) error {
	if err := readTar(r, dir, o); err != nil {
		return fmt.Errorf("unpack to %s: %w", dir, err)
	}
	return nil
}

const (
	maxEntries  = 4 << 20
	maxName     = 32 << 10  // bytes of the path of one entry
	maxDirNames = 256 << 20 // bytes of the paths of all directories, which are kept to the end
	maxTrailer  = 1 << 20   // bytes after the end of the archive
)

func readTar(r io.Reader, dir string, o Options) error {
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
	u := &unpacker{tar: tar.NewReader(r), root: root, ownRoot: made, options: o, room: room{dir: dir}}
	for entries := 0; ; entries++ {
		header, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && entries == maxEntries {
			err = fmt.Errorf("there are more than %d entries", maxEntries)
		}
		if err == nil && len(header.Name) > maxName {
			err = fmt.Errorf("the name of an entry has more than %d bytes", maxName)
		}
		if err == nil {
			err = u.entry(header)
		}
		if err != nil {
			return err
		}
	}
	if err := u.finishDirs(); err != nil {
		return err
	}
	return drain(r) // padding, and the sender's last word
}

// drain reads what follows an archive: little, if it comes from tar.
func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxTrailer))
	if err == nil && n == maxTrailer {
		err = errors.New("the stream goes on after its end")
	}
	return err
}

type unpacker struct {
	tar      *tar.Reader
	root     *os.Root
	ownRoot  bool // the target did not exist
	options  Options
	dirs     []dirMeta
	dirNames int // bytes
	room     room
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
		if u.dirNames += len(name); u.dirNames > maxDirNames {
			return fmt.Errorf("the names of directories have more than %d bytes", maxDirNames)
		}
		u.dirs = append(u.dirs, dirMeta{name: name, mode: mode, mtime: header.ModTime})
		return u.mkdir(name)
	}
	if name == "." {
		return fmt.Errorf("entry %q is no directory", header.Name)
	}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(name, mode, header)
	case tar.TypeSymlink:
		return u.symlink(name, header.Linkname)
	case tar.TypeLink:
		return u.link(name, header)
	default:
		u.options.Skipped.tell(name, "is "+Kind(header.FileInfo().Mode()))
		return nil
	}
}

func (u *unpacker) symlink(name, target string) error {
	if !u.options.OuterLinks && !u.staysInside(name, target) {
		u.options.Skipped.tell(name, "is a link that leads out of the tree")
		return nil
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Symlink(filepath.FromSlash(target), name)
}

// staysInside reports whether a link can lead nowhere but below the target,
// whatever other links of which the same is true it leads through: it goes up
// first, no further than to the root, and from there only down. Its own place
// must be the one that its name says.
func (u *unpacker) staysInside(name, target string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if info, err := u.root.Lstat(dir); err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return false
		}
	}
	depth := strings.Count(filepath.ToSlash(name), "/")
	parts := strings.Split(target, "/")
	for len(parts) > 0 && (parts[0] == ".." || parts[0] == ".") {
		if parts[0] == ".." {
			depth--
		}
		parts = parts[1:]
	}
	rest := filepath.FromSlash(path.Join(parts...))
	return depth >= 0 && !slices.Contains(parts, "..") && !strings.HasPrefix(target, "/") && (rest == "" || filepath.IsLocal(rest))
}

// link makes a second name for a file of the archive. A second name for a link
// would take it to a place where it leads elsewhere.
func (u *unpacker) link(name string, header *tar.Header) error {
	target, err := local(header.Linkname)
	if err != nil {
		return err
	}
	if target == name {
		return fmt.Errorf("entry %q links to itself", header.Name)
	}
	info, err := u.root.Lstat(target)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && (!u.options.OuterLinks || info.Mode().Type() != fs.ModeSymlink) {
		u.options.Skipped.tell(name, "is a second name of what is "+Kind(info.Mode()))
		return nil
	}
	if err := u.clear(name); err != nil {
		return err
	}
	return u.root.Link(target, name)
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

func (u *unpacker) file(name string, mode fs.FileMode, header *tar.Header) error {
	if free, total := space(u.room.dir); total > 0 && header.Size > maxHoles && header.Size > free {
		return fmt.Errorf("entry %q has %d bytes: %w", header.Name, header.Size, errHoles)
	}
	if err := u.clear(name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = u.room.copy(f, u.tar)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return u.root.Chtimes(name, header.ModTime, header.ModTime)
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
