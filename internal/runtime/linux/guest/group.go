//go:build linux

package guest

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group is the control group of a sandbox's programs. Its first process stays
// in that of the host's program: what they use up, it does not lack. The zero
// value is no group.
type Group struct {
	// Unified is the directory of a group of version 2.
	Unified *os.File
	// Tasks are the files of that name of groups of version 1, for writing.
	Tasks []*os.File
}

// Close closes the files.
func (g Group) Close() {
	for _, f := range g.Tasks {
		_ = f.Close()
	}
	if g.Unified != nil {
		_ = g.Unified.Close()
	}
}

// descriptors are those that come to the first process, in this order.
func (g Group) descriptors() []int {
	var fds []int
	for _, f := range g.Tasks {
		fds = append(fds, int(f.Fd()))
	}
	if g.Unified != nil {
		fds = append(fds, int(g.Unified.Fd()))
	}
	return fds
}

// group is a Group inside.
type group struct {
	tasks   []int
	unified int // -1 = none
}

func newGroup(r *bootRequest, fds []int) group {
	g := group{tasks: fds[:r.Tasks], unified: -1}
	if r.Unified {
		g.unified = fds[r.Tasks]
	}
	return g
}

// enter moves the calling thread, and with it every process that it will start,
// into the groups of version 1. Moving a process takes milliseconds, moving the
// own thread takes none.
func (g group) enter() error {
	for _, fd := range g.tasks {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// begin has a process begin in the group of version 2, which has no threads of
// several groups. The directory is a file of the host: nobody inside gets at
// the first process's descriptors, and Landlock bars what it leads to.
func (g group) begin(attr *syscall.SysProcAttr) {
	if g.unified >= 0 {
		attr.UseCgroupFD, attr.CgroupFD = true, g.unified
	}
}
