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
	tops        []string          // top-level directories to overlay
	links       map[string]string // top-level symbolic links, by name
}

// describeHost reads what the base depends on.
func describeHost(privileged bool) (*host, error) {
	release, err := readRelease()
	if err != nil {
		return nil, err
	}
	h := &host{privileged: privileged, release: release, links: map[string]string{}}
	for _, name := range []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		info, err := os.Lstat("/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.IsDir():
			h.tops = append(h.tops, name)
		case info.Mode()&fs.ModeSymlink != 0:
			if h.links[name], err = os.Readlink("/" + name); err != nil {
				return nil, err
			}
		}
	}
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, baseVersion, goruntime.GOARCH, privileged, release["ID"], release["VERSION_ID"], h.tops)
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

// covers reports whether sandboxes would see dir among the host's files.
func (h *host) covers(dir string) bool {
	for _, top := range h.tops {
		if rel, err := filepath.Rel("/"+top, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
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
