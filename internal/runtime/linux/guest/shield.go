//go:build linux

package guest

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
)

// shieldKernel hides what the kernel tells of the host and is no business of a
// sandbox. Root inside who is root outside is also kept from the kernel's
// settings and memory. A file that this kernel lacks needs no shield.
func (p places) shieldKernel(privileges Privileges) error {
	var fixed []string // read-only
	if privileges != Mapped {
		fixed = []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"}
	}
	for _, path := range fixed {
		if err := p.cover(path, path, readOnly); err != nil {
			return err
		}
	}
	for _, path := range []string{
		"/proc/cmdline", "/proc/config.gz", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/kallsyms",
		"/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
		"/proc/latency_stats", "/proc/modules", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/sched_debug", "/proc/slabinfo",
		"/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
	} {
		if err := p.cover(path, "/dev/null", 0); err != nil {
			return err
		}
	}
	return p.hide(
		"/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/class/dmi", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap",
		"/sys/firmware", "/sys/fs/bpf", "/sys/fs/pstore", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/module",
	)
}

// cover puts one file over another.
func (p places) cover(path, source string, attributes uint64) error {
	return p.over(path, func() (int, error) {
		from, err := p.root.Lookup(source)
		if err != nil {
			return -1, err
		}
		defer func() { _ = unix.Close(from) }()
		return mounter.Clone(from, "", attributes)
	})
}

// over puts a mount over a file, if that is there.
func (p places) over(path string, make func() (int, error)) error {
	at, err := p.root.Lookup(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	mount, err := make()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(mount) }()
	return attach(mount, at, path)
}

// hide puts one empty directory over all of these.
func (p places) hide(paths ...string) error {
	empty, err := mounter.New("tmpfs", readOnly, [2]string{"nr_inodes", "1"})
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(empty) }()
	for _, path := range paths {
		if err := p.over(path, func() (int, error) { return mounter.Clone(empty, "", 0) }); err != nil {
			return err
		}
	}
	return nil
}
