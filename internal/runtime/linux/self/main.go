//go:build linux

package self

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// controlDescriptor is the socket to the host.
const controlDescriptor = 3

// Main serves the host, and does not return, in a process that Start began
// under this name. The program may be any: its main function must not run
// there, nor what other packages do while they are initialised as far as that
// can be helped.
func Main(name string, serve func(control *net.UnixConn) error) {
	if len(os.Args) != 1 || os.Args[0] != name {
		return
	}
	if kind, err := unix.GetsockoptInt(controlDescriptor, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_SEQPACKET {
		return
	}
	control, err := begin()
	if err == nil {
		err = serve(control)
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func begin() (*net.UnixConn, error) {
	// First of all: from now on only CAP_SYS_PTRACE opens the process's memory
	// and its like.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("hide process memory: %w", err)
	}
	unix.Umask(0o022)
	if err := closeInherited(); err != nil {
		return nil, err
	}
	unix.CloseOnExec(controlDescriptor)
	control, err := unixConn(controlDescriptor)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return control, nil
}

// closeInherited closes what the program had inherited without the
// close-on-exec flag. The Go runtime's own descriptors, which are no files,
// stay.
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
		n, _ := unix.Readlinkat(dir, name, target)
		if strings.HasPrefix(string(target[:max(n, 0)]), "anon_inode:[event") {
			continue
		}
		_ = unix.Close(fd)
	}
	return nil
}
