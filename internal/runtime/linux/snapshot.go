//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
)

// Snapshot copies what the sandbox has written, as it was at one moment, into a
// layer of a new image.
func (s *sandbox) Snapshot(ctx context.Context) (runtime.Image, error) {
	img, err := s.snapshot(ctx, layers.Image{
		Kind: layers.Snapshot, Config: s.image.Config, Layers: s.image.Layers, Host: s.image.Host,
	}, s.copyWritten)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("snapshot sandbox %s: %w", s.spec.ID, s.ended(err))
	}
	return img, nil
}

// SnapshotDir copies one directory into an image that holds nothing else.
func (s *sandbox) SnapshotDir(ctx context.Context, dir string) (runtime.Image, error) {
	img, err := s.snapshot(ctx, layers.Image{Kind: layers.Directory}, func(ctx context.Context, b *layers.Building) error {
		from, err := s.guest.OpenDir(ctx, path.Join("/", dir))
		if err != nil {
			return err
		}
		defer func() { _ = from.Close() }()
		return s.frozen(ctx, func() error {
			return s.into(b, "/", func(to *os.File) error { return s.guest.CopyTree(ctx, to, from) })
		})
	})
	if err != nil {
		return runtime.Image{}, fmt.Errorf("snapshot %s of sandbox %s: %w", dir, s.spec.ID, s.ended(err))
	}
	return img, nil
}

func (s *sandbox) snapshot(ctx context.Context, img layers.Image, fill func(context.Context, *layers.Building) error) (runtime.Image, error) {
	building, err := s.runtime.store.NewLayer()
	if err != nil {
		return runtime.Image{}, err
	}
	if err = fill(ctx, building); err == nil {
		img, err = building.Commit(img)
	}
	err = errors.Join(err, building.Remove())
	return runtime.Image{ID: img.ID, Config: img.Config}, err
}

// copyWritten copies the upper directory of every overlay of the image.
func (s *sandbox) copyWritten(ctx context.Context, b *layers.Building) error {
	return s.frozen(ctx, func() error { return s.copyUppers(ctx, b) })
}

func (s *sandbox) copyUppers(ctx context.Context, b *layers.Building) error {
	for _, o := range s.files.Overlays {
		upper, err := os.Open(s.runtime.store.Path(o.Upper))
		if err != nil {
			return err
		}
		err = s.into(b, o.Target, func(to *os.File) error { return s.guest.CopyLayer(ctx, to, upper) })
		if err := errors.Join(err, upper.Close()); err != nil {
			return err
		}
	}
	return nil
}

// into opens a part of a layer for a copy.
func (s *sandbox) into(b *layers.Building, target string, fill func(*os.File) error) error {
	dir, err := b.Part(target)
	if err != nil {
		return err
	}
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(fill(to), to.Close())
}

// MountImage shows an image's tree at a path, writable.
func (s *sandbox) MountImage(ctx context.Context, at, imageID string) error {
	if err := s.mount(ctx, path.Join("/", at), imageID); err != nil {
		return fmt.Errorf("mount image at %s: %w", at, s.ended(err))
	}
	return nil
}

func (s *sandbox) mount(ctx context.Context, at, imageID string) error {
	var image *layers.Image
	if imageID != "" {
		img, err := s.runtime.image(ctx, imageID)
		if err != nil {
			return err
		}
		image = &img
	}
	overlays, binds, err := s.files.Mount(image, at)
	if err != nil {
		return err
	}
	return s.guest.Mount(ctx, overlays, binds)
}
