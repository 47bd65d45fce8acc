//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
)

// maxTable is how many bytes of a table of the sandbox are read.
const maxTable = 1 << 20

// lookUser finds a user and a group in the sandbox's own files. Nil is root.
func lookUser(root inroot.Root, spec string) (*syscall.Credential, error) {
	name, group, grouped := strings.Cut(spec, ":")
	if (name == "" || name == "root" || name == "0") && !grouped {
		return nil, nil
	}
	c := &syscall.Credential{}
	fields, err := lookEntry(root, "/etc/passwd", name)
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	if len(fields) > 3 {
		c.Uid, c.Gid = number(fields[2]), number(fields[3])
	} else {
		c.Uid = number(name)
	}
	if grouped {
		fields, err := lookEntry(root, "/etc/group", group)
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
func lookEntry(root inroot.Root, path, key string) ([]string, error) {
	table, err := root.ReadFile(path, maxTable)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) > 2 && (fields[0] == key || fields[2] == key) {
			return fields, nil
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
