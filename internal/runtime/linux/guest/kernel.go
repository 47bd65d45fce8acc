//go:build linux

package guest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
)

const (
	restricted = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	readOnly   = restricted | unix.MOUNT_ATTR_RDONLY
)

// kernelMounts are file systems that show the namespaces of who mounts them,
// so nobody outside can make them.
var kernelMounts = []struct {
	path, kind string
	attributes int
	options    [][2]string
	optional   bool // left out where the machine refuses it
}{
	{path: "proc", kind: "proc", attributes: restricted},
	{path: "sys", kind: "sysfs", attributes: readOnly, optional: true},
	{path: "dev", kind: "tmpfs", attributes: unix.MOUNT_ATTR_NOSUID, options: [][2]string{{"mode", "755"}}},
	{
		path: "dev/pts", kind: "devpts", attributes: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC,
		options: [][2]string{{"newinstance"}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"max", "128"}}, // of some 3,000 of the machine,
	},
	{path: "dev/shm", kind: "tmpfs", attributes: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, options: [][2]string{{"mode", "1777"}}},
	{path: "dev/mqueue", kind: "mqueue", attributes: restricted, optional: true},
}

// makeKernelMounts returns descriptors by path.
func makeKernelMounts() (map[string]int, error) {
	made := map[string]int{}
	for _, k := range kernelMounts {
		fd, err := mounter.New(k.kind, k.attributes, k.options...)
		if err == nil {
			made[k.path] = fd
		} else if !k.optional {
			return nil, err
		}
	}
	return made, nil
}

// attachKernelMounts gives them their places, which an image may hold links in.
func attachKernelMounts(root inroot.Root, made map[string]int) error {
	for _, k := range kernelMounts {
		mount, ok := made[k.path]
		if !ok {
			continue
		}
		at, err := root.OwnDir(k.path)
		if err != nil {
			return err
		}
		err = attach(mount, at, k.path)
		_ = unix.Close(at)
		if err != nil {
			return err
		}
	}
	return nil
}

// devices are the files of the host's /dev that a sandbox has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// fillDev puts the devices into /dev and opens the one that this process needs.
func (p *places) fillDev(dev inroot.Root, mounts []int) error {
	for i, name := range devices {
		at, err := unix.Openat(int(dev), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o666)
		if err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
		err = attach(mounts[i], at, "/dev/"+name)
		_ = unix.Close(at)
		if err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"ptmx":   "pts/ptmx",
		"fd":     "/proc/self/fd",
		"stdin":  "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2",
	} {
		if err := unix.Symlinkat(target, int(dev), name); err != nil {
			return fmt.Errorf("make /dev/%s: %w", name, err)
		}
	}
	var err error
	if p.null, err = unix.Openat(int(dev), "null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	return nil
}
