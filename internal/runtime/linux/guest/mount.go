//go:build linux

package guest

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// mountRequest puts the mounts that come along into the running sandbox, in
// order.
type mountRequest struct{ Targets []string }

// mount has the mount points looked up, and made, with the rights of the
// sandbox's programs; to attach takes those of this process.
func (a *agent) mount(c self.Conversation, r *mountRequest, mounts []int) error {
	defer self.CloseAll(mounts)
	if len(mounts) != len(r.Targets) {
		return unix.EINVAL
	}
	for i, target := range r.Targets {
		at, err := -1, error(nil)
		if started := a.lookups.do(func() { at, err = a.places.root.MkdirAll(target) }); started != nil {
			return started
		}
		if err != nil {
			return err
		}
		err = attach(mounts[i], at, target)
		_ = unix.Close(at)
		if err != nil {
			return err
		}
	}
	return c.Send(answer{})
}

// attach gives a mount its place, a descriptor of a path; the name is for the
// error.
func attach(mount, at int, name string) error {
	if err := unix.MoveMount(mount, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "mount", Path: name, Err: err}
	}
	return nil
}

// attachAt makes the directory of a mount and gives the mount that place.
func attachAt(root inroot.Root, mount int, path string) error {
	at, err := root.MkdirAll(path)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	return attach(mount, at, path)
}
