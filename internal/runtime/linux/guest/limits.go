//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// limitNamespaces sets what the sandbox's user namespace counts. No further
// namespaces are made inside unless that is wanted, and no sandbox takes all
// that the host's user may have of the kernel's file watches.
func (p places) limitNamespaces(nesting bool) error {
	limits := map[string]int64{
		"inotify_instances": p.share("sys/fs/inotify/max_user_instances"),
		"inotify_watches":   p.share("sys/fs/inotify/max_user_watches"),
	}
	if !nesting {
		for _, kind := range []string{"user", "cgroup", "ipc", "net", "pid", "time"} {
			limits[kind+"_namespaces"] = 0
		}
	}
	for name, most := range limits {
		err := p.set("sys/user/max_"+name, strconv.FormatInt(most, 10))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without that kind
			return fmt.Errorf("limit %s: %w", name, err)
		}
	}
	return nil
}

// set changes a setting of the kernel below /proc.
func (p places) set(path, value string) error {
	fd, err := p.proc.Open(path, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	_, err = unix.Write(fd, []byte(value))
	return err
}

// share is a quarter of what the host gives each of its users.
func (p places) share(path string) int64 {
	const least = 8
	text, err := p.proc.ReadFile(path, maxTable)
	if err != nil {
		return least
	}
	all, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return least
	}
	return max(all/4, least)
}
