//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// mounter is a thread that still sees the host's files, in a mount namespace
// of its own, after the rest of the process has moved to the sandbox's root.
// It makes mounts that belong nowhere yet; attach gives them their place.
type mounter struct{ work chan func() }

// newMounter starts the thread. Relative paths lie below dir.
func newMounter(dir string) (*mounter, error) {
	m := &mounter{work: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: nothing else may run with this root
		started <- m.enter(dir)
		for f := range m.work {
			f()
		}
	}()
	return m, <-started
}

func (m *mounter) enter(dir string) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	// What the host unmounts must not stay busy here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach mounts from the host: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return &os.PathError{Op: "chdir", Path: dir, Err: err}
	}
	return nil
}

// do runs f on the thread.
func (m *mounter) do(f func() (int, error)) (fd int, err error) {
	done := make(chan struct{})
	m.work <- func() {
		defer close(done)
		fd, err = f()
	}
	<-done
	return fd, err
}

func (m *mounter) overlay(o Overlay) (int, error) {
	return m.do(func() (int, error) {
		fd, err := newOverlay(o)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
			return oldOverlay(o)
		}
		return fd, err
	})
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
	return newMount("overlay", 0, options...)
}

// oldOverlay is for kernels before 6.8, which take all layers in one string of
// at most a page.
func oldOverlay(o Overlay) (int, error) {
	options := "userxattr,volatile,lowerdir=" + strings.Join(o.Lower, ":") + ",upperdir=" + o.Upper + ",workdir=" + o.Work
	if len(options) >= os.Getpagesize() {
		return -1, fmt.Errorf("mount overlay on %s: %d layers are too many for this kernel", o.Target, len(o.Lower))
	}
	// The upper directory serves as the mount point that an overlay needs here.
	if err := unix.Mount("overlay", o.Upper, "overlay", 0, options); err != nil {
		return -1, fmt.Errorf("mount overlay on %s: %w", o.Target, err)
	}
	fd, err := cloneTree(o.Upper)
	return fd, errors.Join(err, unix.Unmount(o.Upper, unix.MNT_DETACH))
}

func (b Bind) attributes() uint64 {
	attributes := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if b.ReadOnly {
		attributes |= unix.MOUNT_ATTR_RDONLY
	}
	return attributes
}

func (m *mounter) tree(source string, attributes uint64) (int, error) {
	return m.do(func() (int, error) { return restrictedTree(source, attributes) })
}

func restrictedTree(source string, attributes uint64) (int, error) {
	fd, err := cloneTree(source)
	if err != nil || attributes == 0 {
		return fd, err
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return -1, errors.Join(fmt.Errorf("restrict mount of %s: %w", source, err), unix.Close(fd))
	}
	return fd, nil
}

func cloneTree(source string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "clone mount", Path: source, Err: err}
	}
	return fd, nil
}

// newMount makes a file system of a kind. An option without a value is a flag.
func newMount(kind string, attributes int, options ...[2]string) (int, error) {
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

// attach gives a mount its place and closes its descriptor. Missing
// directories are made.
func attach(fd int, path string) error {
	defer func() { _ = unix.Close(fd) }()
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return move(fd, path)
}

func move(fd int, path string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return &os.PathError{Op: "mount", Path: path, Err: err}
	}
	return nil
}
