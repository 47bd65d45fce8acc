//go:build linux

package guest

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group is the control group of a sandbox's programs. The zero value is no group.
type Group struct {
	// Unified is the directory of a group of version 2, in which the first
	// process begins and everything that it starts: a thread cannot be in
	// another group than its process there, and to begin a process in another
	// group takes a call whose flags no filter sees, so that programs lack it.
	Unified *os.File
	// Tasks are the files of that name of groups of version 1, for writing. The
	// first process stays in the groups of the host's program: what its programs
	// use up, it does not lack.
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

// begin has the first process begin in the group of version 2.
func (g Group) begin(attr *syscall.SysProcAttr) {
	if g.Unified != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.Unified.Fd())
	}
}

// descriptors are those that come to the first process.
func (g Group) descriptors() []int {
	var fds []int
	for _, f := range g.Tasks {
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

// enterGroups moves the calling thread, and with it every process that it will
// start, into the groups of version 1 whose files these are. Moving a process
// takes milliseconds, moving the own thread takes none.
func enterGroups(tasks []int) error {
	for _, fd := range tasks {
		if _, err := unix.Write(fd, []byte("0")); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}
