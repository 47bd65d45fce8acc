package archive

import (
	"archive/tar"
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

// Tree is a file or directory of this machine.
type Tree struct {
	Source string // its path
	Name   string // what the archive calls it; "" = a directory's entries stand by themselves, a file has its base name
}

// Skipped is told what of a tree is not copied, and why; nil = nobody is.
type Skipped func(name, reason string)

func (s Skipped) tell(name, reason string) {
	if s != nil {
		s(name, reason)
	}
}

// Tar writes files and directories as one tar stream. A tree that is a link
// itself is followed; links below it stay links, hard links too where the
// system has them, and holes stay holes. Sockets, pipes and devices below a
// tree are skipped, as is what vanishes meanwhile; a tree that is one itself is
// an error. Owners are not kept.
func Tar(w io.Writer, skipped Skipped, trees ...Tree) error {
	out := tar.NewWriter(w)
	for _, tree := range trees {
		p := &packer{out: w, tar: out, skipped: skipped, name: tree.Name, links: make(map[fileID]string)}
		if err := p.tree(tree.Source); err != nil {
			return fmt.Errorf("pack %s: %w", tree.Source, err)
		}
	}
	return out.Close()
}

func (p *packer) tree(source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	base := "."
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return &fs.PathError{Op: "copy", Path: source, Err: fmt.Errorf("is %s, and only regular files and directories are copied", Kind(info.Mode()))}
		}
		if source, err = filepath.EvalSymlinks(source); err != nil {
			return err
		}
		source, base = filepath.Dir(source), filepath.Base(source)
	}
	root, err := os.OpenRoot(source)
	if err != nil {
		return err
	}
	defer root.Close()
	p.root, p.base = root, base
	if base == "." && p.name == "" {
		return p.children(".")
	}
	return p.entry(base)
}

// Kind is what a file is, in words.
func Kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	if mode&fs.ModeDevice != 0 {
		return "a device"
	}
	return "no regular file"
}

type packer struct {
	out     io.Writer // below tar
	tar     *tar.Writer
	skipped Skipped
	root    *os.Root
	base    string            // what is packed, below root
	name    string            // what it is called instead; "" = its own name
	links   map[fileID]string // first name of files that have several
}

// vanished reports whether something below the tree is no more there.
func (p *packer) vanished(name string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) || name == p.base {
		return false
	}
	p.skipped.tell(name, "vanished meanwhile")
	return true
}

// nameOf is the name in the archive of a path below root.
func (p *packer) nameOf(local string) string {
	local = filepath.ToSlash(local)
	switch {
	case p.name == "":
		return local
	case local == filepath.ToSlash(p.base):
		return p.name
	default:
		return path.Join(p.name, local)
	}
}

func (p *packer) children(dir string) error {
	f, err := p.root.Open(dir)
	if p.vanished(dir, err) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.entry(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) entry(name string) error {
	info, err := p.root.Lstat(name)
	target := ""
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		target, err = p.root.Readlink(name)
	}
	if p.vanished(name, err) {
		return nil
	}
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case 0, fs.ModeDir, fs.ModeSymlink:
	default:
		p.skipped.tell(name, "is "+Kind(info.Mode()))
		return nil
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = p.nameOf(name)
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	header.Format = tar.FormatGNU // long and odd names in one header, for every tar that sandboxes have
	header.ModTime, header.AccessTime, header.ChangeTime = info.ModTime().Truncate(time.Second), time.Time{}, time.Time{}
	if info.IsDir() {
		header.Name += "/"
		if err := p.tar.WriteHeader(header); err != nil {
			return err
		}
		return p.children(name)
	}
	if id, several := identify(info); several && info.Mode().IsRegular() {
		if first, seen := p.links[id]; seen {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(header)
		}
		p.links[id] = header.Name
	}
	if header.Typeflag != tar.TypeReg {
		return p.tar.WriteHeader(header)
	}
	return p.file(name, header)
}

// local turns the name of an entry into a path below the target, or refuses it.
func local(name string) (string, error) {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("entry %q points out of the archive", name)
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return ".", nil
	}
	clean = filepath.FromSlash(clean)
	if !filepath.IsLocal(clean) {
		return "", fmt.Errorf("entry %q is no name for a file here", name)
	}
	return clean, nil
}
