//go:build linux

package guest

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// shieldKernel hides what the kernel tells of the host and is no business of a
// sandbox. Root inside who is root outside is also kept from the kernel's
// settings and memory. A file that this kernel lacks needs no shield.
func shieldKernel(privileges Privileges) error {
	var fixed []string // read-only
	if privileges != Mapped {
		fixed = []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"}
	}
	for _, path := range fixed {
		if err := cover(path, path, readOnly); err != nil {
			return err
		}
	}
	for _, path := range []string{
		"/proc/cmdline", "/proc/config.gz", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/kallsyms",
		"/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
		"/proc/latency_stats", "/proc/modules", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/sched_debug", "/proc/slabinfo",
		"/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo",
	} {
		if err := cover(path, "/dev/null", 0); err != nil {
			return err
		}
	}
	return hide(
		"/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/class/dmi", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap",
		"/sys/firmware", "/sys/fs/bpf", "/sys/fs/pstore", "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/module",
	)
}

// cover puts one file over another.
func cover(path, source string, attributes uint64) error {
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	fd, err := restrictedTree(source, attributes)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return move(fd, path)
}

// hide puts one empty directory over all of these.
func hide(paths ...string) error {
	empty := ""
	for _, path := range paths {
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if empty != "" {
			if err := cover(path, empty, 0); err != nil {
				return err
			}
			continue
		}
		fd, err := newMount("tmpfs", readOnly, [2]string{"nr_inodes", "1"})
		if err != nil {
			return err
		}
		if err := errors.Join(move(fd, path), unix.Close(fd)); err != nil {
			return err
		}
		empty = path
	}
	return nil
}
