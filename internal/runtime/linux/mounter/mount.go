//go:build linux

package mounter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

func (s *server) mount(r *Request) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := unix.Chdir(r.Dir); err != nil {
		return nil, &os.PathError{Op: "chdir", Path: r.Dir, Err: err}
	}
	defer func() { _ = unix.Chdir("/") }() // keeps no directory of the host busy
	var made []int
	add := func(fd int, err error) error {
		if err == nil {
			made = append(made, fd)
		}
		return err
	}
	var err error
	for i := 0; i < len(r.Overlays) && err == nil; i++ {
		err = add(overlay(r.Overlays[i]))
	}
	for i := 0; i < len(r.Binds) && err == nil; i++ {
		err = add(clone(r.Binds[i].Source, r.Binds[i].attributes()))
	}
	for i := 0; i < len(r.Devices) && err == nil; i++ {
		err = add(clone("/dev/"+r.Devices[i], unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY))
	}
	if err != nil {
		self.CloseAll(made)
		return nil, err
	}
	return made, nil
}

// overlay mounts an overlay without devices: those of a sandbox are binds.
func overlay(o Overlay) (int, error) {
	fd, err := newOverlay(o)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return oldOverlay(o)
	}
	return fd, err
}

// An overlay is volatile: otherwise its end would wait until all that any
// program has written to the host's disk is on it, and what is in the sandbox
// need not outlive a power cut until it becomes a layer.
func newOverlay(o Overlay) (int, error) {
	options := make([][2]string, 0, len(o.Lower)+4)
	for _, dir := range o.Lower {
		options = append(options, [2]string{"lowerdir+", dir})
	}
	options = append(options, [2]string{"upperdir", o.Upper}, [2]string{"workdir", o.Work}, [2]string{"userxattr"}, [2]string{"volatile"})
	return New("overlay", unix.MOUNT_ATTR_NODEV, options...)
}

// oldOverlay is for kernels before 6.8, which take all layers in one string of
// at most a page.
func oldOverlay(o Overlay) (int, error) {
	options := "userxattr,volatile,lowerdir=" + strings.Join(o.Lower, ":") + ",upperdir=" + o.Upper + ",workdir=" + o.Work
	if len(options) >= os.Getpagesize() {
		return -1, fmt.Errorf("mount overlay on %s: %d layers are too many for this kernel", o.Target, len(o.Lower))
	}
	// The upper directory serves as the mount point that an overlay needs here.
	if err := unix.Mount("overlay", o.Upper, "overlay", unix.MS_NODEV, options); err != nil {
		return -1, fmt.Errorf("mount overlay on %s: %w", o.Target, err)
	}
	fd, err := clone(o.Upper, 0)
	return fd, errors.Join(err, unix.Unmount(o.Upper, unix.MNT_DETACH))
}

func (b Bind) attributes() uint64 {
	attributes := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if b.ReadOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	return attributes
}

func clone(source string, attributes uint64) (int, error) {
	return Clone(unix.AT_FDCWD, source, attributes)
}

// Clone makes another mount of what source, below the descriptor at, is on, or
// of what at itself is when source is "". It belongs nowhere.
func Clone(at int, source string, attributes uint64) (int, error) {
	fd, err := unix.OpenTree(at, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return -1, &os.PathError{Op: "clone mount", Path: source, Err: err}
	}
	if attributes == 0 {
		return fd, nil
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return -1, errors.Join(fmt.Errorf("restrict mount of %s: %w", source, err), unix.Close(fd))
	}
	return fd, nil
}

// New makes a file system of a kind that belongs nowhere. An option without a
// value is a flag.
func New(kind string, attributes int, options ...[2]string) (int, error) {
	fail := func(err error) (int, error) { return -1, fmt.Errorf("mount %s: %w", kind, err) }
	context, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = unix.Close(context) }()
	for _, o := range options {
		if o[1] == "" {
			err = unix.FsconfigSetFlag(context, o[0])
		} else {
			err = unix.FsconfigSetString(context, o[0], o[1])
		}
		if err != nil {
			return fail(fmt.Errorf("option %s: %w", strings.TrimSuffix(strings.Join(o[:], "="), "="), err))
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return fail(err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return fail(err)
	}
	return fd, nil
}

// program is the running program as nobody can change it.
func program() (int, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return -1, err
	}
	fd, err := clone(path, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY)
	if err != nil || !runs(fd) {
		_ = unix.Close(fd)
		return copied() // it has been deleted or replaced since it was started
	}
	return fd, nil
}

// runs says whether a file is the running program.
func runs(fd int) bool {
	var there, running unix.Stat_t
	return unix.Fstat(fd, &there) == nil && unix.Stat("/proc/self/exe", &running) == nil &&
		there.Dev == running.Dev && there.Ino == running.Ino
}

// copied is a copy of the running program in memory.
func copied() (int, error) {
	const executable = 0x10 // MFD_EXEC of linux/memfd.h
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|executable)
	if errors.Is(err, unix.EINVAL) { // a kernel older than the flag
		fd, err = unix.MemfdCreate("program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	to := os.NewFile(uintptr(fd), "program")
	defer func() { _ = to.Close() }()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return -1, err
	}
	defer func() { _ = from.Close() }()
	if _, err := io.Copy(to, from); err != nil {
		return -1, fmt.Errorf("copy program: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, fmt.Errorf("seal program: %w", err)
	}
	// Without a descriptor that writes, or the kernel executes nothing.
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}
