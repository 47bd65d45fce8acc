//go:build linux

package layers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
)

// baseVersion changes with the way the base is made.
const baseVersion = "2"

// host describes the machine's own root file system.
type host struct {
	fingerprint string
	privileged  bool              // sandboxes keep owners
	release     map[string]string // /etc/os-release
	tops        []string          // directories to overlay: the roots, or parts of them
	ways        []string          // directories between them that lead to mounts
	empty       []string          // mount points whose files are left out
	links       map[string]string // top-level symbolic links, by name
}

// describeHost reads what the base depends on.
func describeHost(privileged bool) (*host, error) {
	release, err := readRelease()
	if err != nil {
		return nil, err
	}
	h := &host{privileged: privileged, release: release, links: map[string]string{}}
	mounts, err := hostMounts()
	if err != nil {
		return nil, err
	}
	for _, name := range hostRoots() {
		info, err := os.Lstat("/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.IsDir():
			if err := h.split(name, mounts); err != nil {
				return nil, err
			}
		case info.Mode()&fs.ModeSymlink != 0:
			if h.links[name], err = os.Readlink("/" + name); err != nil {
				return nil, err
			}
		}
	}
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, baseVersion, goruntime.GOARCH, privileged, release["ID"], release["VERSION_ID"], h.tops, h.ways, h.empty)
	for _, database := range []string{"/var/lib/dpkg/status", "/lib/apk/db/installed"} {
		b, err := os.ReadFile(database)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		_, _ = sum.Write(b)
	}
	for _, database := range []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm", "/var/lib/pacman/local"} {
		if info, err := os.Stat(database); err == nil {
			_, _ = fmt.Fprintln(sum, database, info.ModTime().UnixNano())
		}
	}
	h.fingerprint = hex.EncodeToString(sum.Sum(nil))[:16]
	return h, nil
}

func readRelease() (map[string]string, error) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	release := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			release[name] = strings.Trim(value, `"'`)
		}
	}
	return release, nil
}

// hostRoots are the top-level directories of the host that sandboxes see.
func hostRoots() []string { return []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} }

// CheckPlace refuses a directory for a store that sandboxes would see among the
// host's files. It need not exist.
func CheckPlace(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	real, err := resolved(dir)
	if err != nil {
		return err
	}
	for _, root := range hostRoots() {
		if rel, err := filepath.Rel("/"+root, real); err == nil && filepath.IsLocal(rel) {
			return fmt.Errorf("%s lies in a directory that sandboxes see; choose another", dir)
		}
	}
	return nil
}

// resolved follows the symbolic links of a path as far as it exists.
func resolved(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return real, err
	}
	parent, err := resolved(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}

// IsHost reports whether the host stands in for an image of a distribution:
// "debian:12-slim" where the host is Debian 12.
func (s *Store) IsHost(name, tag string) bool {
	if name == "" || name != s.host.release["ID"] {
		return false
	}
	switch tag = strings.TrimSuffix(tag, "-slim"); tag {
	case "latest", "slim", s.host.release["VERSION_ID"], s.host.release["VERSION_CODENAME"]:
		return true
	}
	major, _, ok := strings.Cut(tag, ".")
	return ok && name == "debian" && major == s.host.release["VERSION_ID"]
}
