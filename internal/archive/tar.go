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

// Tar writes a file or a directory as a tar stream. A file becomes one entry
// under its base name; the entries of a directory are named relative to it, and
// the directory itself has none. Symbolic links stay links, hard links too
// where the system has them. Sockets, pipes and devices are left out. Owners are not kept.
func Tar(w io.Writer, name string) error {
	if err := writeTar(w, name); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

func writeTar(w io.Writer, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	base := "."
	if !info.IsDir() {
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return err
		}
		name, base = filepath.Dir(name), filepath.Base(name)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return err
	}
	defer root.Close()
	p := &packer{tar: tar.NewWriter(w), root: root, links: make(map[fileID]string)}
	if base == "." {
		err = p.children(".")
	} else {
		err = p.entry(base)
	}
	if err != nil {
		return err
	}
	return p.tar.Close()
}

type packer struct {
	tar   *tar.Writer
	root  *os.Root
	links map[fileID]string // first name of files that have several
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
	header.Name = filepath.ToSlash(name)
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
