//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTerminal makes a terminal of the sandbox's own, by the descriptor of its
// devpts alone.
func openTerminal(terminals int, size Size) (master, slave *os.File, err error) {
	// Blocking here: the descriptors go to others, and the mode goes with them.
	const mode = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(terminals, "ptmx", mode, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "terminal")
	defer func() {
		if err != nil {
			err = errors.Join(err, master.Close())
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	if err := Resize(fd, size); err != nil {
		return nil, nil, err
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, mode)
	if errno != 0 {
		return nil, nil, fmt.Errorf("open terminal: %w", errno)
	}
	return master, os.NewFile(peer, "terminal"), nil
}

// Resize sets the size of the terminal behind a descriptor and tells its
// foreground processes.
func Resize(fd int, size Size) error {
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols}); err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}
