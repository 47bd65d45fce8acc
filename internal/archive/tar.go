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

// Tar writes files and directories as one tar stream. Symbolic links below
// them stay links, hard links too where the system has them. Sockets, pipes
// and devices are left out. Owners are not kept.
func Tar(w io.Writer, trees ...Tree) error {
	out := tar.NewWriter(w)
	for _, tree := range trees {
		if err := writeTree(out, tree); err != nil {
			return fmt.Errorf("pack %s: %w", tree.Source, err)
		}
	}
	return out.Close()
}

func writeTree(out *tar.Writer, tree Tree) error {
	info, err := os.Stat(tree.Source)
	if err != nil {
		return err
	}
	source, base := tree.Source, "."
	if !info.IsDir() {
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
	p := &packer{tar: out, root: root, base: base, name: tree.Name, links: make(map[fileID]string)}
	if base == "." && tree.Name == "" {
		return p.children(".")
	}
	return p.entry(base)
}

type packer struct {
	tar   *tar.Writer
	root  *os.Root
	base  string            // what is packed, below root
	name  string            // what it is called instead; "" = its own name
	links map[fileID]string // first name of files that have several
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
	if err != nil {
		return err
	}
	target := ""
	switch info.Mode().Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if target, err = p.root.Readlink(name); err != nil {
			return err
		}
	default:
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

// file copies as many bytes as the file had when it was opened.
func (p *packer) file(name string, header *tar.Header) error {
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "read", Path: name, Err: errors.New("replaced while it was packed")}
	}
	header.Size = info.Size()
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.CopyN(p.tar, f, header.Size); err != nil {
		if errors.Is(err, io.EOF) {
			err = &fs.PathError{Op: "read", Path: name, Err: io.ErrUnexpectedEOF}
		}
		return err
	}
	return nil
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
