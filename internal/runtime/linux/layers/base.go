//go:build linux

package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// HostImage is the host's own root file system, without a layer. The first
// call on a new state of the host takes a second or two.
func (s *Store) HostImage(ctx context.Context) (Image, error) {
	if err := s.ensureBase(ctx); err != nil {
		return Image{}, fmt.Errorf("prepare the host's files: %w", err)
	}
	return Image{
		ID:     s.HostImageID(),
		Kind:   Built,
		Host:   s.host.fingerprint,
		Config: runtime.ImageConfig{Env: []string{"PATH=" + systemPath}},
	}, nil
}

// HostImageID is the ID of the image that HostImage returns.
func (s *Store) HostImageID() string { return "im-host-" + s.host.fingerprint }

const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (s *Store) ensureBase(ctx context.Context) error {
	s.base.Lock()
	defer s.base.Unlock()
	if s.ready {
		return nil
	}
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	dir := s.path("bases", s.host.fingerprint)
	if s.release == nil {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			if err := s.makeBase(ctx, dir); err != nil {
				return err
			}
		}
		if err := s.standOnBase(); err != nil {
			return err
		}
	}
	mask, err := s.makeMask(ctx, dir)
	if err != nil {
		return err
	}
	s.mask.Store(mask)
	s.ready = true
	return nil
}

// standOnBase keeps other programs from removing the base and the images on
// it, until Close. The store's lock is held.
func (s *Store) standOnBase() (err error) {
	s.release, err = lockFile(s.path("bases", s.host.fingerprint, "lock"), unix.LOCK_SH)
	return err
}

func (s *Store) makeBase(ctx context.Context, dir string) error {
	w, err := s.newWorkspace("building", newID())
	if err != nil {
		return err
	}
	b := &baseBuilder{host: s.host, dir: filepath.Join(w.Dir, "base"), stamps: map[string]int64{}}
	if err := b.build(ctx); err != nil {
		return errors.Join(err, w.Remove())
	}
	err = os.Rename(b.dir, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		err = nil // another program was faster
	}
	return errors.Join(err, w.Remove())
}

// sweepBases removes the bases of former states of the host that no program uses.
func (s *Store) sweepBases() error {
	entries, err := os.ReadDir(s.path("bases"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != s.host.fingerprint {
			s.sweepAbandoned(s.path("bases", e.Name()))
		}
	}
	return nil
}

// Close lets other programs remove what this one stood on.
func (s *Store) Close() {
	s.base.Lock()
	defer s.base.Unlock()
	if mask := s.mask.Swap(nil); mask != nil {
		if err := mask.Remove(); err != nil {
			s.log.Warn("remove mask of the host's files", slog.Any("cause", err))
		}
	}
	if s.release != nil {
		s.release()
		s.release = nil
	}
	s.ready = false
}

// baseBuilder makes what lies directly above the host's files: the root with
// /etc and /var from an allow-list, and for the top-level directories what the
// host's own permissions ask for.
type baseBuilder struct {
	host   *host
	dir    string
	stamps map[string]int64 // when each of the host's directories last changed, by path
}

func (b *baseBuilder) build(ctx context.Context) error {
	root := filepath.Join(b.dir, rootName)
	if err := makeDir(root, 0o755); err != nil {
		return err
	}
	for _, step := range []func(context.Context, string) error{b.skeleton, b.between, b.etc, b.state, b.accounts} {
		if err := step(ctx, root); err != nil {
			return err
		}
	}
	for _, top := range b.host.tops {
		if err := b.cover(ctx, top); err != nil {
			return err
		}
	}
	return b.writeStamps()
}

func (b *baseBuilder) skeleton(_ context.Context, root string) error {
	for name, target := range b.host.links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, dir := range slices.Concat(b.host.tops, b.host.ways, b.host.empty) {
		if err := makeDir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for dir, mode := range map[string]fs.FileMode{
		"boot": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755,
		"proc": 0o755, "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o755, "tmp": 0o1777, "var": 0o755,
		"run/lock": 0o1777, "var/backups": 0o755, "var/cache": 0o755, "var/lib": 0o755, "var/local": 0o755,
		"var/log": 0o755, "var/mail": 0o755, "var/opt": 0o755, "var/spool": 0o755, "var/tmp": 0o1777,
		"var/cache/apt/archives/partial": 0o755, "var/lib/apt/lists/partial": 0o755, "var/log/apt": 0o755,
	} {
		if err := makeDir(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
		if err := unix.Chmod(filepath.Join(root, dir), uint32(mode)); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"var/run": "/run", "var/lock": "/run/lock", "etc/mtab": "../proc/self/mounts",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return nil
}

// etcFiles are the parts of /etc that programs need and that no package
// delivers unchanged: indexes, trust stores, choices of the administrator.
func etcFiles() []string {
	return []string{
		"adduser.conf", "alternatives", "apt", "bash.bashrc", "ca-certificates", "ca-certificates.conf",
		"ca-certificates.d", "debconf.conf", "debian_version", "deluser.conf", "dpkg", "fonts", "gai.conf",
		"host.conf", "inputrc", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "ld.so.cache",
		"ld.so.conf", "ld.so.conf.d", "locale.alias", "locale.conf", "locale.gen", "localtime", "login.defs",
		"lsb-release", "magic", "magic.mime", "mime.types", "networks", "nsswitch.conf", "os-release", "pam.conf",
		"pam.d", "perl", "pip.conf", "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "profile", "profile.d",
		"protocols", "python3", "redhat-release", "rpc", "rpm", "security", "services", "shells", "skel", "ssl",
		"terminfo", "timezone", "ucf.conf", "xattr.conf", "xml",
	}
}

// secretEtc never goes along, whoever may read it.
func secretEtc(path string) bool {
	switch path {
	case "apt/auth.conf", "apt/auth.conf.d", "ssl/private", "security/opasswd":
		return true
	}
	return strings.HasSuffix(path, ".key")
}

func (b *baseBuilder) etc(ctx context.Context, root string) error {
	c := &publicCopier{from: "/etc", to: filepath.Join(root, "etc"), skip: secretEtc}
	for _, name := range etcFiles() {
		if err := c.copy(ctx, name); err != nil {
			return err
		}
	}
	unchanged, err := unchangedConfiguration("/var/lib/dpkg/status")
	if err != nil {
		return err
	}
	for _, path := range unchanged {
		if name, ok := strings.CutPrefix(path, "/etc/"); ok {
			if err := c.copy(ctx, name); err != nil {
				return err
			}
		}
	}
	// The user that apt fetches files as cannot write where root may.
	const conf = "APT::Sandbox::User \"root\";\n"
	dir := filepath.Join(root, "etc/apt/apt.conf.d")
	if err := makeDir(dir, 0o755); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "90sandbox"), conf, 0o644)
}

func (b *baseBuilder) state(ctx context.Context, root string) error {
	c := &publicCopier{from: "/var", to: filepath.Join(root, "var"), skip: func(path string) bool {
		return strings.HasPrefix(filepath.Base(path), "lock") || strings.HasSuffix(path, "-old")
	}}
	for _, name := range []string{
		"cache/debconf", "cache/fontconfig", "lib/apk", "lib/apt/extended_states", "lib/ca-certificates-java",
		"lib/dictionaries-common", "lib/dpkg", "lib/emacsen-common", "lib/pam", "lib/python", "lib/rpm",
		"lib/sgml-base", "lib/shells.state", "lib/systemd/deb-systemd-helper-enabled",
		"lib/systemd/deb-systemd-helper-masked", "lib/ucf", "lib/vim", "lib/xml-core",
	} {
		if err := c.copy(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// cover makes the part of the base that lies on one of the host's top-level
// directories. It hides what an unprivileged user of the host could not read,
// unless it comes from a package. In a sandbox without privileges it repeats
// every directory, because in those of the host nothing could be changed.
func (b *baseBuilder) cover(ctx context.Context, top string) error {
	layer := filepath.Join(b.dir, top)
	var hidden []string
	err := filepath.WalkDir("/"+top, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 || !d.IsDir() && !b.host.privileged {
			return nil // the kernel hides a file itself
		}
		var info unix.Stat_t
		if err := lstat(path, &info); err != nil {
			return nil
		}
		mode := fileMode(info)
		if !public(mode) {
			hidden = append(hidden, path)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			b.stamps[path] = info.Mtim.Nano()
		}
		if d.IsDir() && !b.host.privileged {
			return makeDir(filepath.Join(b.dir, path), mode.Perm()|0o700)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if hidden, err = b.unpackaged(hidden); err != nil {
		return err
	}
	for _, path := range hidden {
		if err := b.hide(path); err != nil {
			return err
		}
	}
	if !b.host.privileged {
		return makeDir(layer, 0o755)
	}
	return nil
}

// unpackaged leaves out what a package has delivered: that is public anyway.
// Without privileges it cannot be read all the same.
func (b *baseBuilder) unpackaged(paths []string) ([]string, error) {
	if len(paths) == 0 || !b.host.privileged {
		return paths, nil
	}
	packaged, err := packagedPaths("/var/lib/dpkg/info", paths)
	if err != nil {
		return nil, err
	}
	var rest []string
	for _, p := range paths {
		if !packaged[p] {
			rest = append(rest, p)
		}
	}
	return rest, nil
}

func (b *baseBuilder) hide(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return ignoreNotExist(err)
	}
	if err := b.repeatParents(filepath.Dir(path)); err != nil {
		return err
	}
	at := filepath.Join(b.dir, path)
	if info.IsDir() {
		if err := makeDir(at, 0o755); err != nil {
			return err
		}
		return tree.SetOpaque(at)
	}
	return tree.Whiteout(unix.AT_FDCWD, at)
}

// repeatParents makes a directory of the layer like the host's.
func (b *baseBuilder) repeatParents(path string) error {
	at := filepath.Join(b.dir, path)
	if _, err := os.Lstat(at); err == nil || path == "/" {
		return nil
	}
	if err := b.repeatParents(filepath.Dir(path)); err != nil {
		return err
	}
	if err := makeDir(at, 0o755); err != nil {
		return err
	}
	return ignoreNotExist(inherit(at, path))
}
