//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Probe finds out whether this machine runs sandboxes with their files in dir,
// by raising an empty one. An empty dir is one for temporary files. The error
// says what is missing and the command that mends it.
func Probe(ctx context.Context, dir string) (err error) {
	if dir != "" {
		if err := layers.CheckPlace(dir); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	work, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer func() { err = errors.Join(err, tree.Remove(work)) }()
	for _, sub := range []string{"lower/usr", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(work, sub), 0o755); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	var m mounter.Mounter
	defer m.Close()
	g, far, err := guest.Start(ctx, &m, guest.Config{
		Dir:      work,
		Overlays: []mounter.Overlay{{Target: "/", Lower: []string{"lower"}, Upper: "upper", Work: "work"}},
		Settings: guest.Settings{Hostname: "probe", Resolver: network.GatewayIP, Privileges: privilegesHere()},
	}, guest.Group{})
	if err != nil {
		return explain(err, observe(work))
	}
	g.Kill()
	return unix.Close(far)
}

// machine is what explains why it runs no sandboxes.
type machine struct {
	root       bool
	container  bool
	settings   map[string]string // by file
	dir        string
	fileSystem int64 // of dir
}

const (
	apparmorSetting = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	cloneSetting    = "/proc/sys/kernel/unprivileged_userns_clone"
	mostSetting     = "/proc/sys/user/max_user_namespaces"
)

func observe(dir string) machine {
	m := machine{root: os.Geteuid() == 0, dir: dir, settings: map[string]string{}}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			m.container = true
		}
	}
	for _, path := range []string{apparmorSetting, cloneSetting, mostSetting} {
		if b, err := os.ReadFile(path); err == nil {
			m.settings[path] = strings.TrimSpace(string(b))
		}
	}
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) == nil {
		m.fileSystem = int64(s.Type)
	}
	return m
}

// lack is what a machine is missing.
type lack struct {
	what, command string
	cause         error
}

func (l *lack) Error() string { return fmt.Sprintf("%s; run: %s (%v)", l.what, l.command, l.cause) }
func (l *lack) Unwrap() error { return l.cause }

// explain adds to an error of raising a sandbox what the machine lacks, if
// that is known.
func explain(err error, m machine) error {
	refused := errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, fs.ErrPermission)
	none := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EUSERS)
	switch {
	case m.settings[mostSetting] == "0" && (refused || none):
		return &lack{"this machine allows no user namespaces", "sudo sysctl -w user.max_user_namespaces=65536", err}
	case refused && !m.root && m.settings[apparmorSetting] == "1":
		return &lack{
			"AppArmor on this machine restricts user namespaces of unprivileged users",
			"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", err,
		}
	case refused && !m.root && m.settings[cloneSetting] == "0":
		return &lack{"this machine allows user namespaces for root only", "sudo sysctl -w kernel.unprivileged_userns_clone=1", err}
	case refused && m.container:
		return &lack{
			"this container may not make namespaces and mounts",
			"docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined " +
				"--security-opt systempaths=unconfined --cap-add SYS_ADMIN --cap-add NET_ADMIN ...", err,
		}
	case m.fileSystem == unix.OVERLAYFS_SUPER_MAGIC && mentions(err, "overlay"):
		return &lack{
			fmt.Sprintf("%s lies on an overlay, and a sandbox's files cannot lie on another one", m.dir),
			"docker run -v seer:" + m.dir + " ...", err,
		}
	case m.fileSystem == unix.NFS_SUPER_MAGIC && mentions(err, "overlay"):
		return &lack{m.dir + " lies on a network file system, which holds no sandbox's files", "export SEER_HOME=/var/tmp/seer", err}
	case errors.Is(err, syscall.ENODEV) && mentions(err, "overlay"):
		return &lack{"the kernel has not loaded overlay file systems", "sudo modprobe overlay", err}
	case errors.Is(err, syscall.EDQUOT) && mentions(err, "keyring"):
		return &lack{"this user has as many kernel keys as it may, and a sandbox needs one", "sudo sysctl -w kernel.keys.maxkeys=2000", err}
	case errors.Is(err, syscall.EOPNOTSUPP) && mentions(err, "link"):
		return &lack{"the kernel has not loaded virtual network links", "sudo modprobe veth", err}
	}
	return err
}

func mentions(err error, word string) bool { return strings.Contains(err.Error(), word) }
