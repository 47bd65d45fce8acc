//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
)

// place is a mount and where in the sandbox it goes.
type place struct {
	path string
	make func() (int, error)
	file bool // the mount point is a file, not a directory
	// optional mounts are left out where the machine refuses them.
	optional bool
}

const (
	restricted = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	readOnly   = restricted | unix.MOUNT_ATTR_RDONLY
	// A device is the host's: what it does is for all, its mode and owner for nobody inside.
	deviceOnly = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY
)

// enterRoot mounts the sandbox's root file system and makes it this process's.
// Every mount is made while the host's files are still in sight and gets its
// place afterwards, so that a symbolic link in an image leads nowhere else.
func enterRoot(m *mounter, cfg *Config) error {
	defer unix.Umask(unix.Umask(0))
	places := layout(m, cfg)
	fds := make([]int, len(places))
	for i, p := range places {
		fd, err := p.make()
		if err != nil && !p.optional {
			closeAll(fds[:i])
			return err
		}
		fds[i] = fd
	}
	if err := pivot(fds[0], filepath.Join(cfg.Dir, cfg.Scratch)); err != nil {
		closeAll(fds)
		return err
	}
	for i, p := range places[1:] {
		if err := p.attach(fds[i+1]); err != nil {
			closeAll(fds[i+2:])
			return err
		}
	}
	return linkDevices()
}

func (p place) attach(fd int) error {
	if fd < 0 {
		return nil
	}
	if !p.file {
		return attach(fd, p.path)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := os.WriteFile(p.path, nil, 0o666); err != nil {
		return err
	}
	return move(fd, p.path)
}

func layout(m *mounter, cfg *Config) []place {
	places := []place{{path: "/", make: func() (int, error) { return m.overlay(cfg.Root) }}}
	for _, o := range cfg.Within {
		places = append(places, place{path: o.Target, make: func() (int, error) { return m.overlay(o) }})
	}
	places = append(places,
		fresh("/proc", "proc", restricted),
		fresh("/sys", "sysfs", readOnly).orNot(),
		fresh("/dev", "tmpfs", unix.MOUNT_ATTR_NOSUID, [2]string{"mode", "755"}),
		fresh("/dev/pts", "devpts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC,
			[2]string{"newinstance"}, [2]string{"ptmxmode", "0666"}, [2]string{"mode", "0620"}),
		fresh("/dev/shm", "tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, [2]string{"mode", "1777"}),
		fresh("/dev/mqueue", "mqueue", restricted).orNot(),
	)
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		device := "/dev/" + name
		places = append(places, place{path: device, file: true, make: func() (int, error) { return m.tree(device, deviceOnly) }})
	}
	for _, b := range cfg.Binds {
		places = append(places, place{path: b.Target, make: func() (int, error) { return m.tree(b.Source, b.attributes()) }})
	}
	return places
}

func fresh(path, kind string, attributes int, options ...[2]string) place {
	return place{path: path, make: func() (int, error) { return newMount(kind, attributes, options...) }}
}

func (p place) orNot() place {
	p.optional = true
	return p
}

func pivot(root int, scratch string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := attach(root, scratch); err != nil {
		return err
	}
	if err := unix.Chdir(scratch); err != nil {
		return &os.PathError{Op: "chdir", Path: scratch, Err: err}
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot to root of the sandbox: %w", err)
	}
	// The old root now lies on top of the new one.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount root of the host: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return &os.PathError{Op: "chdir", Path: "/", Err: err}
	}
	return nil
}

func linkDevices() error {
	for name, target := range map[string]string{
		"ptmx":   "pts/ptmx",
		"fd":     "/proc/self/fd",
		"stdin":  "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// setUp makes this process the first of a sandbox and returns the descriptor
// for the host's end of its network.
func setUp(m *mounter, cfg *Config) (int, error) {
	// The kernel takes its time for links, and mounts need not wait for them.
	far := -1
	var networkErr error
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		far, networkErr = network.SetupGuest(network.GuestConfig{})
	}()
	err := enterRoot(m, cfg)
	if err == nil {
		err = nameHost(cfg)
	}
	<-linked
	if err = errors.Join(err, networkErr); err == nil {
		return far, nil
	}
	if far >= 0 {
		_ = unix.Close(far)
	}
	return -1, err
}

// nameHost writes what a C library reads to find names. Other lines of
// /etc/hosts, which a snapshot may have brought, stay.
func nameHost(cfg *Config) error {
	if err := unix.Sethostname([]byte(cfg.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	const own = "127.0.1.1\t"
	lines := append([]string{own + cfg.Hostname}, cfg.Hosts...)
	old, err := os.ReadFile("/etc/hosts")
	if err != nil {
		old = []byte("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	}
	for line := range bytes.Lines(old) {
		text := strings.TrimSuffix(string(line), "\n")
		if !strings.HasPrefix(text, own) && !slices.Contains(cfg.Hosts, text) {
			lines = append(lines, text)
		}
	}
	for path, content := range map[string]string{
		"/etc/hosts":       strings.Join(lines, "\n") + "\n",
		"/etc/hostname":    cfg.Hostname + "\n",
		"/etc/resolv.conf": "nameserver " + cfg.Resolver + "\n",
	} {
		if err := replaceFile(path, content); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file anew unless it has the content already; a symbolic
// link of that name is not followed.
func replaceFile(path, content string) error {
	if info, err := os.Lstat(path); err == nil {
		old, err := os.ReadFile(path)
		if info.Mode().IsRegular() && err == nil && string(old) == content {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
