//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// download brings packages with all that they depend on into a directory,
// unless they are there, and returns their files.
func download(ctx context.Context, dir string, names ...string) ([]string, error) {
	found, err := fetch(ctx, dir, names)
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: the images are made of Debian's packages", err)
	case os.Geteuid() != 0:
		return nil, fmt.Errorf("%w\nif the machine does not know the packages: run `apt-get update` as root", err)
	}
	// A fresh machine knows no packages, an old one those of long ago.
	if err := command(ctx, "", nil, "apt-get", "update", "-qq"); err != nil {
		return nil, err
	}
	return fetch(ctx, dir, names)
}

func fetch(ctx context.Context, dir string, names []string) ([]string, error) {
	needed, err := closure(ctx, names)
	if err != nil {
		return nil, err
	}
	found, err := files(ctx, dir, needed)
	if err != nil || !slices.ContainsFunc(found, missing) {
		return found, err
	}
	argv := []string{"apt-get", "download", "-q", "-o", "APT::Sandbox::User=root"}
	return found, command(ctx, dir, nil, append(argv, needed...)...)
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return err != nil
}

// closure names packages and what they depend on.
func closure(ctx context.Context, names []string) ([]string, error) {
	out, err := output(ctx, "", append([]string{"apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
		"--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}, names...)...)
	if err != nil {
		return nil, err
	}
	var needed []string
	for line := range strings.Lines(out) {
		name := strings.TrimSpace(line)
		// Indented lines repeat what has a line of its own; <name> is virtual, name:arch foreign.
		if line[0] != ' ' && !strings.ContainsAny(name, "<:") && !slices.Contains(needed, name) {
			needed = append(needed, name)
		}
	}
	return needed, nil
}

// files are the archives that apt-get would bring into a directory.
func files(ctx context.Context, dir string, names []string) ([]string, error) {
	// Of what lies in its working directory it says nothing.
	out, err := output(ctx, "/", append([]string{"apt-get", "download", "--print-uris"}, names...)...)
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasSuffix(fields[1], ".deb") {
			found = append(found, filepath.Join(dir, fields[1]))
		}
	}
	if len(found) < len(names) {
		return nil, fmt.Errorf("apt-get download %s: only %d of the packages are known", strings.Join(names, " "), len(found))
	}
	return found, nil
}

// rootFS is a root file system in the making: a tar archive.
type rootFS struct {
	archive bytes.Buffer
	tar     *tar.Writer
	names   map[string]bool
}

// newRootFS unpacks packages, the first of which counts where two have the
// same file. Busybox's is followed by its commands.
func newRootFS(ctx context.Context, debs []string) (*rootFS, error) {
	r := &rootFS{names: map[string]bool{}}
	r.tar = tar.NewWriter(&r.archive)
	err := r.skeleton()
	for _, deb := range debs {
		if err == nil {
			err = r.unpack(ctx, deb)
		}
	}
	if err == nil && r.names["usr/bin/python3"] {
		err = r.link("usr/bin/python", "python3")
	}
	if err == nil {
		err = r.tar.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("make root file system: %w", err)
	}
	return r, nil
}

func (r *rootFS) skeleton() error {
	var errs []error
	for _, dir := range []string{"usr", "etc", "proc", "sys", "dev", "run", "mnt", "root", "home", "tmp", "var", "var/tmp"} {
		mode := int64(0o755)
		if path.Base(dir) == "tmp" {
			mode = 0o1777
		}
		errs = append(errs, r.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode}, nil))
	}
	for dir := range merged {
		errs = append(errs,
			r.add(&tar.Header{Typeflag: tar.TypeDir, Name: "usr/" + dir, Mode: 0o755}, nil),
			r.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: dir, Linkname: "usr/" + dir}, nil))
	}
	for name, text := range map[string]string{
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":      "root:x:0:\nnogroup:x:65534:\n",
		"etc/os-release": "ID=modalsuite\nPRETTY_NAME=\"Packages of Debian\"\n",
	} {
		errs = append(errs, r.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(text)))
	}
	return errors.Join(errs...)
}

// merged are the directories that are links to those of the same name in /usr,
// where older packages still have files.
var merged = map[string]bool{"bin": true, "sbin": true, "lib": true, "lib64": true}

func mergedPath(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if first, _, below := strings.Cut(name, "/"); below && merged[first] {
		return "usr/" + name
	}
	return name
}

func (r *rootFS) unpack(ctx context.Context, deb string) error {
	content, err := output(ctx, "", "dpkg-deb", "--fsys-tarfile", deb)
	if err != nil {
		return err
	}
	files := tar.NewReader(strings.NewReader(content))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
		header.Name = mergedPath(header.Name)
		if header.Typeflag == tar.TypeLink {
			header.Linkname = mergedPath(header.Linkname)
		}
		data, err := io.ReadAll(files)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
		if err := r.add(header, data); err != nil {
			return err
		}
		if header.Name == busyboxPath {
			if err := r.applets(ctx, data); err != nil {
				return err
			}
		}
	}
}

const busyboxPath = "usr/bin/busybox"

// applets links the commands that busybox knows, as it names them itself.
func (r *rootFS) applets(ctx context.Context, busybox []byte) error {
	dir, err := os.MkdirTemp("", "modalsuite-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "busybox")
	if err := os.WriteFile(binary, busybox, 0o700); err != nil {
		return err
	}
	list, err := output(ctx, "", binary, "--list-full")
	if err != nil {
		return err
	}
	for _, applet := range strings.Fields(list) {
		if err := r.link(mergedPath(applet), "/"+busyboxPath); err != nil {
			return err
		}
	}
	return nil
}

func (r *rootFS) link(name, target string) error {
	return r.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, nil)
}

// add writes an entry unless there is one of the same name.
func (r *rootFS) add(header *tar.Header, data []byte) error {
	if header.Name == "" || r.names[header.Name] || header.Typeflag == tar.TypeDir && merged[header.Name] {
		return nil
	}
	r.names[header.Name] = true
	header.Size = int64(len(data))
	if err := r.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := r.tar.Write(data)
	return err
}
