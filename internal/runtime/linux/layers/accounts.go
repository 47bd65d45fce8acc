//go:build linux

package layers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	lastSystemID = 999
	nobodyID     = 65534
)

// accounts writes the users and groups that belong to the system and its
// packages: no person, no password, no name of one.
func (b *baseBuilder) accounts(_ context.Context, root string) error {
	users, err := systemEntries("/etc/passwd", "root:x:0:0:root:/root:/bin/bash")
	if err != nil {
		return err
	}
	groups, err := systemEntries("/etc/group", "root:x:0:")
	if err != nil {
		return err
	}
	var passwd, shadow, group, gshadow strings.Builder
	for _, u := range users {
		u[1], u[4] = "x", ""
		passwd.WriteString(strings.Join(u, ":") + "\n")
		shadow.WriteString(u[0] + ":*:19000:0:99999:7:::\n")
	}
	for _, g := range groups {
		g[1], g[3] = "x", systemMembers(g[3], users)
		group.WriteString(strings.Join(g, ":") + "\n")
		gshadow.WriteString(g[0] + ":*::" + g[3] + "\n")
	}
	for _, f := range []struct {
		name, content string
		mode          fs.FileMode
	}{
		{"passwd", passwd.String(), 0o644}, {"group", group.String(), 0o644},
		{"shadow", shadow.String(), 0o640}, {"gshadow", gshadow.String(), 0o640},
	} {
		if err := writeFile(filepath.Join(root, "etc", f.name), f.content, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// systemEntries reads the entries with a system's ID; the first one is root's.
func systemEntries(path, first string) ([][]string, error) {
	entries := [][]string{strings.Split(first, ":")}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) != len(entries[0]) {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		if err == nil && (id > 0 && id <= lastSystemID || id == nobodyID) {
			entries = append(entries, fields)
		}
	}
	return entries, nil
}

func systemMembers(members string, users [][]string) string {
	var system []string
	for _, m := range strings.Split(members, ",") {
		if slices.ContainsFunc(users, func(u []string) bool { return u[0] == m }) {
			system = append(system, m)
		}
	}
	return strings.Join(system, ",")
}
