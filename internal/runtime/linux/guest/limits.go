//go:build linux

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// limitNamespaces sets what the sandbox's user namespace counts. No further
// namespaces are made inside unless that is wanted, and no sandbox takes all
// that the host's user may have of the kernel's file watches.
func limitNamespaces(nesting bool) error {
	limits := map[string]int64{
		"inotify_instances": share("/proc/sys/fs/inotify/max_user_instances"),
		"inotify_watches":   share("/proc/sys/fs/inotify/max_user_watches"),
	}
	if !nesting {
		for _, kind := range []string{"user", "cgroup", "ipc", "net", "pid", "time"} {
			limits[kind+"_namespaces"] = 0
		}
	}
	for name, most := range limits {
		err := os.WriteFile("/proc/sys/user/max_"+name, strconv.AppendInt(nil, most, 10), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without that kind
			return fmt.Errorf("limit %s: %w", name, err)
		}
	}
	return nil
}

// share is a quarter of what the host gives each of its users.
func share(path string) int64 {
	const least = 8
	text, err := os.ReadFile(path)
	if err != nil {
		return least
	}
	all, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return least
	}
	return max(all/4, least)
}
