//go:build linux

package guest

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// processName is the first argument of the first process of a sandbox.
	processName = "seer-sandbox"
	// controlDescriptor is the socket to the host.
	controlDescriptor = 3
)

// The program that Start executes is the one that calls it, whatever that is.
// Its main function must not run in the sandbox, nor what other packages do
// while they are initialised as far as that can be helped.
func init() {
	if os.Getpid() != 1 || len(os.Args) != 1 || os.Args[0] != processName {
		return
	}
	if kind, err := unix.GetsockoptInt(controlDescriptor, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return
	}
	if err := run(); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// run serves the host until it is gone.
func run() error {
	// First of all: from now on only CAP_SYS_PTRACE opens /proc/1/mem and its like.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide process memory: %w", err)
	}
	if err := deafen(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := closeInherited(); err != nil {
		return err
	}
	unix.CloseOnExec(controlDescriptor)
	control, err := unixConn(controlDescriptor)
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	a, err := boot(control)
	if err != nil {
		return err
	}
	return a.serve(control)
}

// closeInherited closes what the program had inherited without the
// close-on-exec flag. The Go runtime's own descriptors stay: it opens control
// group files before this runs.
func closeInherited() error {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /proc/self/fd: %w", err)
	}
	defer func() { _ = unix.Close(dir) }()
	var names []string
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return fmt.Errorf("read /proc/self/fd: %w", err)
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= controlDescriptor || fd == dir {
			continue
		}
		target := make([]byte, 64)
		n, _ := unix.Readlink("/proc/self/fd/"+name, target)
		opened := string(target[:max(n, 0)])
		if strings.HasPrefix(opened, "/sys/fs/cgroup/") || strings.HasPrefix(opened, "anon_inode:[event") {
			continue
		}
		_ = unix.Close(fd)
	}
	return nil
}

// accept waits for the host's next conversation.
func accept(control *net.UnixConn) (conversation, error) {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := control.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return conversation{}, err
	}
	fds, err := parseRights(rights[:n])
	if err != nil {
		return conversation{}, err
	}
	if len(fds) != 1 {
		closeAll(fds)
		return conversation{}, fmt.Errorf("accept conversation: %d descriptors", len(fds))
	}
	c, err := unixConn(fds[0])
	if err != nil {
		return conversation{}, fmt.Errorf("accept conversation: %w", err)
	}
	return conversation{c}, nil
}
