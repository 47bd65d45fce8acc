//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// places are the descriptors by which this process reaches the sandbox's files:
// it never looks a path up by name.
type places struct {
	root      inroot.Root
	proc      inroot.Root // the kernel's processes
	terminals int         // devpts
	null      int         // /dev/null, for reading and writing
}

// setUp makes this process the first of a sandbox and returns the descriptor
// for the host's end of its network.
func setUp(r *bootRequest, mounts []int) (places, int, error) {
	// The kernel takes its time for links, and mounts need not wait for them.
	far := -1
	var networkErr error
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		far, networkErr = network.SetupGuest(network.GuestConfig{})
	}()
	p, err := enterRoot(r, mounts)
	if err == nil {
		err = nameHost(p.root, &r.Settings)
	}
	<-linked
	if err = errors.Join(err, networkErr); err == nil {
		return p, far, nil
	}
	self.CloseAll([]int{far})
	return places{}, -1, err
}

// enterRoot makes the first mount this process's root and attaches the others.
// The kernel's file systems are made while the host's are still in sight: it
// shows nobody more of them than they see already.
func enterRoot(r *bootRequest, mounts []int) (places, error) {
	defer self.CloseAll(mounts)
	defer unix.Umask(unix.Umask(0))
	kernel, err := makeKernelMounts()
	if err != nil {
		return places{}, err
	}
	root, err := pivot(mounts[0])
	if err != nil {
		return places{}, err
	}
	p := places{root: root, proc: inroot.Root(kernel["proc"]), terminals: kernel["dev/pts"]}
	if err := attachKernelMounts(root, kernel); err != nil {
		return p, err
	}
	n := len(r.Targets)
	if err := p.fillDev(inroot.Root(kernel["dev"]), mounts[n:]); err != nil {
		return p, err
	}
	for i, target := range r.Targets[1:] {
		if err := attachAt(root, mounts[i+1], target); err != nil {
			return p, err
		}
	}
	return p, nil
}

// pivot makes a mount the root of this process and lets go of the host's. A
// mount on the root is reached by its descriptor alone.
func pivot(mount int) (inroot.Root, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return -1, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return -1, fmt.Errorf("mount root of the sandbox: %w", err)
	}
	if err := unix.Fchdir(mount); err != nil {
		return -1, fmt.Errorf("enter root of the sandbox: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return -1, fmt.Errorf("pivot to root of the sandbox: %w", err)
	}
	// The old root now lies on top of the new one.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return -1, fmt.Errorf("unmount root of the host: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Fchdir(root)
	}
	if err != nil {
		return -1, fmt.Errorf("open root of the sandbox: %w", err)
	}
	return inroot.Root(root), nil
}

// nameHost writes what a C library reads to find names. Other lines of
// /etc/hosts, which a snapshot may have brought, stay.
func nameHost(root inroot.Root, s *Settings) error {
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	const own = "127.0.1.1\t"
	lines := append([]string{own + s.Hostname}, s.Hosts...)
	old, err := root.ReadFile("/etc/hosts", maxTable)
	if err != nil {
		old = []byte("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	}
	for line := range bytes.Lines(old) {
		text := strings.TrimSuffix(string(line), "\n")
		if !strings.HasPrefix(text, own) && !slices.Contains(s.Hosts, text) {
			lines = append(lines, text)
		}
	}
	for path, content := range map[string]string{
		"/etc/hosts":       strings.Join(lines, "\n") + "\n",
		"/etc/hostname":    s.Hostname + "\n",
		"/etc/resolv.conf": "nameserver " + s.Resolver + "\n",
	} {
		if err := root.Replace(path, content); err != nil {
			return err
		}
	}
	return nil
}
