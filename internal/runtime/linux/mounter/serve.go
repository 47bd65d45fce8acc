//go:build linux

package mounter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

const processName = "seer-mounter"

func init() { self.Main(processName, serve) }

// request is what the host asks for; exactly one field is set.
type request struct {
	Program bool         `json:",omitempty"`
	Mount   *Request     `json:",omitempty"`
	Copy    *copyRequest `json:",omitempty"`
}

// copyRequest copies the second descriptor's directory into the first one's.
type copyRequest struct{ Kind tree.Kind }

func serve(control *net.UnixConn) error {
	// What the host mounts and unmounts later shows here, and nothing the other
	// way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach mounts from the host: %w", err)
	}
	var s server
	for {
		c, err := self.Accept(control)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, unix.EMFILE) {
			continue // this conversation is lost, and others end
		}
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			s.converse(c)
		}()
	}
}

type server struct {
	mu sync.Mutex // guards the working directory
}

func (s *server) converse(c self.Conversation) {
	var r request
	fds, err := c.Receive(&r)
	defer func() { self.CloseAll(fds) }()
	if err != nil {
		return
	}
	var made []int
	switch {
	case r.Program:
		made, err = one(program())
	case r.Mount != nil:
		made, err = s.mount(r.Mount)
	case r.Copy != nil && len(fds) == 2:
		err = copyTree(c, r.Copy, fds)
	default:
		err = unix.EOPNOTSUPP
	}
	defer func() { self.CloseAll(made) }()
	if err != nil {
		_ = c.Send(self.Fail(err))
		return
	}
	_ = c.Send(self.Result{}, made...)
}

func one(fd int, err error) ([]int, error) {
	if err != nil {
		return nil, err
	}
	return []int{fd}, nil
}

// copyTree copies until the host ends the conversation.
func copyTree(c self.Conversation, r *copyRequest, fds []int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = c.Read(make([]byte, 1))
		cancel()
	}()
	if r.Kind == tree.Plain {
		if err := refuseKernel(fds[1]); err != nil {
			return err
		}
	}
	return tree.Copy(ctx, fds[0], fds[1], r.Kind)
}

// refuseKernel refuses the kernel's own files: to read those is to ask the
// kernel with this process's rights.
func refuseKernel(dir int) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(dir, &s); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	switch s.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC:
		return errors.New("files of the kernel are not copied")
	}
	return nil
}
