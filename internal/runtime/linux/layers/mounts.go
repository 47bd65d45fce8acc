//go:build linux

package layers

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An overlay cannot lie on a directory that other file systems are mounted
// below: in a user namespace the kernel would have to show what those hide. So
// a directory of the host on the way to a mount is repeated in the base, its
// files copied, and each of the directories in it gets an overlay of its own.

// split adds a directory of the host to those to overlay, as a whole or, with
// mounts below it, in parts. Path is relative to the root.
func (h *host) split(path string, mounts map[string]string) error {
	within := "/" + path + "/"
	between := false
	for point := range mounts {
		between = between || strings.HasPrefix(point, within)
	}
	if !between {
		h.tops = append(h.tops, path)
		return nil
	}
	h.ways = append(h.ways, path)
	entries, err := os.ReadDir("/" + path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.IsDir() || !public(info.Mode()) {
			continue
		}
		below := filepath.Join(path, e.Name())
		if kind, mounted := mounts["/"+below]; mounted && !overlaid(kind) {
			h.empty = append(h.empty, below)
			continue
		}
		if err := h.split(below, mounts); err != nil {
			return err
		}
	}
	return nil
}

// overlaid reports whether an overlay can lie on a file system of a kind. What
// others hold, drivers of a graphics card for instance, is left out.
func overlaid(kind string) bool {
	return slices.Contains([]string{
		"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs", "overlay", "erofs", "squashfs",
	}, kind)
}

// hostMounts returns the kinds of the file systems of the host by their mount points.
func hostMounts() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts := map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields, kind, found := strings.Cut(line, " - ")
		if place := strings.Fields(fields); found && len(place) > 4 {
			kind, _, _ = strings.Cut(kind, " ")
			mounts[unescapeMount(place[4])] = kind
		}
	}
	return mounts, nil
}

// unescapeMount reads the octal form that the kernel gives blanks and backslashes.
func unescapeMount(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// between repeats the directories on the way to mounts. A file that is a mount
// itself is left out.
func (b *baseBuilder) between(ctx context.Context, root string) error {
	mounts, err := hostMounts()
	if err != nil {
		return err
	}
	c := &publicCopier{from: "/", to: root, skip: func(path string) bool {
		_, mounted := mounts["/"+path]
		return mounted
	}}
	for _, way := range b.host.ways {
		if err := inherit(filepath.Join(root, way), "/"+way); err != nil {
			return err
		}
		entries, err := os.ReadDir("/" + way)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			if err := c.copy(ctx, filepath.Join(way, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
