package modelcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Entry is one volume with a model on it.
type Entry struct {
	Volume   string
	Model    string // "" = hidden, or not complete
	Revision string // as it was asked for first
	Commit   string
	Hidden   bool
	Complete bool
	Bytes    int64
	Created  time.Time // zero = not complete
	LastUsed time.Time // by a program that shares our use log, or when an unfinished download last wrote; zero = not known
}

// List returns all volumes with models, sorted by name.
func (c *Cache) List(ctx context.Context) ([]Entry, error) {
	volumes, err := c.Store.Volumes(ctx)
	if err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	volumes = slices.DeleteFunc(slices.Sorted(slices.Values(volumes)), func(v string) bool { return !isOurs(v) })
	entries := make([]Entry, len(volumes))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, volume := range volumes {
		group.Go(func() (err error) {
			entries[i], err = c.entry(groupCtx, volume)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("list models: %w", err)
	}
	return entries, nil
}

func (c *Cache) entry(ctx context.Context, volume string) (Entry, error) {
	e := Entry{Volume: volume, Hidden: strings.HasPrefix(volume, hiddenPrefix)}
	if c.Uses != nil {
		e.LastUsed = c.Uses.Last(volume)
	}
	manifest, err := c.manifest(ctx, volume)
	if err != nil {
		return e, err
	}
	if manifest != nil {
		e.Model, e.Revision, e.Commit, e.Created = manifest.Model, manifest.Revision, manifest.Commit, manifest.Created
		e.Complete, e.Bytes = true, manifest.Bytes()
		return e, nil
	}
	files, err := c.Store.Files(ctx, volume)
	for _, f := range files {
		e.Bytes += f.Size
		if f.ModTime.After(e.LastUsed) {
			e.LastUsed = f.ModTime
		}
	}
	return e, ignoreMissing(err)
}

// Delete deletes a volume that [Cache.List] returned. Volumes that hold no
// model of ours are refused.
func (c *Cache) Delete(ctx context.Context, volume string) error {
	if !isOurs(volume) {
		return fmt.Errorf("delete model: %q is not a volume for models", volume)
	}
	if err := c.Store.Delete(ctx, volume); err != nil {
		return fmt.Errorf("delete model: %w", err)
	}
	if c.Uses != nil {
		return c.Uses.forget(volume)
	}
	return nil
}

func isOurs(volume string) bool {
	return (strings.HasPrefix(volume, plainPrefix) || strings.HasPrefix(volume, hiddenPrefix)) && filepath.Base(volume) == volume
}

// UseLog remembers on this machine when volumes were last used: volumes do not,
// and sandboxes mount them read-only. It is a directory with an empty file for
// each volume, whose time counts.
type UseLog struct{ Dir string }

// Touch records that a volume is used now.
func (l *UseLog) Touch(volume string) error {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return fmt.Errorf("record use: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(l.Dir, volume), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("record use: %w", err)
	}
	now := time.Now()
	return errors.Join(f.Close(), os.Chtimes(f.Name(), now, now))
}

// Last is when a volume was last used; zero if that is not known.
func (l *UseLog) Last(volume string) time.Time {
	info, err := os.Stat(filepath.Join(l.Dir, volume))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (l *UseLog) forget(volume string) error {
	if err := os.Remove(filepath.Join(l.Dir, volume)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget use: %w", err)
	}
	return nil
}
