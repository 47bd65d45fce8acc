//go:build linux

package linux

import (
	"context"
	"io/fs"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// files implements runtime.Files.
type files struct{ sandbox *sandbox }

func (f files) OpenFile(ctx context.Context, path string, flag int, perm fs.FileMode) (runtime.File, error) {
	file, err := f.sandbox.guest.OpenFile(ctx, path, flag, perm)
	if err != nil {
		return nil, f.sandbox.ended(err)
	}
	return file, nil
}

func (f files) Mkdir(ctx context.Context, path string, parents bool) error {
	return f.sandbox.ended(f.sandbox.guest.Mkdir(ctx, path, parents))
}

func (f files) Remove(ctx context.Context, path string, recursive bool) error {
	return f.sandbox.ended(f.sandbox.guest.Remove(ctx, path, recursive))
}

func (f files) ReadDir(ctx context.Context, path string) ([]fs.FileInfo, error) {
	infos, err := f.sandbox.guest.ReadDir(ctx, path)
	return infos, f.sandbox.ended(err)
}

func (f files) Stat(ctx context.Context, path string) (fs.FileInfo, error) {
	info, err := f.sandbox.guest.Stat(ctx, path)
	return info, f.sandbox.ended(err)
}
