//go:build linux

package guest

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lookUser finds a user and a group in the sandbox's own files. Nil is root.
func lookUser(spec string) (*syscall.Credential, error) {
	name, group, grouped := strings.Cut(spec, ":")
	if (name == "" || name == "root" || name == "0") && !grouped {
		return nil, nil
	}
	c := &syscall.Credential{}
	fields, err := lookEntry("/etc/passwd", name)
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	if len(fields) > 3 {
		c.Uid, c.Gid = number(fields[2]), number(fields[3])
	} else {
		c.Uid = number(name)
	}
	if grouped {
		fields, err := lookEntry("/etc/group", group)
		if err != nil {
			return nil, fmt.Errorf("look up group %q: %w", group, err)
		}
		if c.Gid = number(group); len(fields) > 2 {
			c.Gid = number(fields[2])
		}
	}
	return c, nil
}

// lookEntry finds a line by its first or third field. A number needs no line.
func lookEntry(path, key string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Split(lines.Text(), ":")
			if len(fields) > 2 && (fields[0] == key || fields[2] == key) {
				return fields, nil
			}
		}
	}
	if _, err := strconv.ParseUint(key, 10, 32); err != nil {
		return nil, fmt.Errorf("no such entry in %s", path)
	}
	return nil, nil
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}
