//go:build linux

package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stampsName is the file of a base that tells when each of the host's
// directories had last changed as the base was made.
const stampsName = "directories"

// writeStamps keeps what the walk over the host has seen.
func (b *baseBuilder) writeStamps() error {
	var text strings.Builder
	for path, changed := range b.stamps {
		_, _ = fmt.Fprintf(&text, "%s\x00%d\x00", path, changed)
	}
	return os.WriteFile(filepath.Join(b.dir, stampsName), []byte(text.String()), 0o600)
}

func readStamps(base string) (map[string]int64, error) {
	text, err := os.ReadFile(filepath.Join(base, stampsName))
	if err != nil {
		return nil, err
	}
	fields := strings.Split(string(text), "\x00")
	stamps := make(map[string]int64, len(fields)/2)
	for ; len(fields) >= 2; fields = fields[2:] {
		if stamps[fields[0]], err = strconv.ParseInt(fields[1], 10, 64); err != nil {
			return nil, fmt.Errorf("read stamps of the base: %w", err)
		}
	}
	return stamps, nil
}

// makeMask hides what has come to the host since the base was made and an
// unprivileged user of the host could not read. It is nil when there is
// nothing such, and in a sandbox without privileges, to which the kernel
// denies those files itself. Looking at directories that have changed is
// enough: a file that was there before has been public.
func (s *Store) makeMask(ctx context.Context, base string) (*Workspace, error) {
	if !s.host.privileged {
		return nil, nil
	}
	stamps, err := readStamps(base)
	if err != nil {
		return nil, err
	}
	b := &baseBuilder{host: s.host, stamps: stamps}
	hidden, err := b.hiddenSince(ctx)
	if err != nil {
		return nil, err
	}
	if hidden, err = b.unpackaged(hidden); err != nil || len(hidden) == 0 {
		return nil, err
	}
	w, err := s.newWorkspace("building", newID())
	if err != nil {
		return nil, err
	}
	b.dir = filepath.Join(w.Dir, maskName)
	for _, path := range hidden {
		err = errors.Join(err, b.hide(path))
	}
	if err != nil {
		return nil, errors.Join(err, w.Remove())
	}
	return w, nil
}

const maskName = "mask"

// hiddenSince lists what is not public in directories that have changed.
func (b *baseBuilder) hiddenSince(ctx context.Context) ([]string, error) {
	var hidden []string
	for path, changed := range b.stamps {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var info unix.Stat_t
		switch err := lstat(path, &info); {
		case err != nil: // it is gone
		case !public(fileMode(info)):
			hidden = append(hidden, path)
		case info.Mtim.Nano() != changed:
			hidden = append(hidden, b.hiddenIn(path)...)
		}
	}
	return hidden, nil
}

// hiddenIn lists what is not public in a directory and in those below it that
// the base does not know.
func (b *baseBuilder) hiddenIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // it is gone
	}
	var hidden []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			continue
		}
		_, known := b.stamps[path]
		switch {
		case !public(info.Mode()):
			hidden = append(hidden, path)
		case info.IsDir() && !known:
			hidden = append(hidden, b.hiddenIn(path)...)
		}
	}
	return hidden
}

// ignoreNotExist is for what may have gone from the host since it was listed.
func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
