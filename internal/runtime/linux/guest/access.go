//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// Dial connects to a TCP port from inside the sandbox.
func (g *Guest) Dial(ctx context.Context, port uint16) (*net.TCPConn, error) {
	fd, err := g.descriptor(ctx, request{Dial: &dialRequest{Port: port}})
	if err != nil {
		return nil, fmt.Errorf("dial port %d: %w", port, err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("dial port %d: %w", port, err)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("dial port %d: not a TCP connection", port), c.Close())
	}
	return tcp, nil
}

// OpenFile opens a regular file or a directory as root of the sandbox.
func (g *Guest) OpenFile(ctx context.Context, path string, flag int, perm fs.FileMode) (*os.File, error) {
	fd, err := g.descriptor(ctx, request{File: &fileRequest{Op: "open", Path: path, Flag: flag, Perm: perm}})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Mkdir makes a directory, with its parents when asked.
func (g *Guest) Mkdir(ctx context.Context, path string, parents bool) error {
	_, err := g.file(ctx, fileRequest{Op: "mkdir", Path: path, All: parents})
	return err
}

// Remove deletes a file or an empty directory, or a whole tree when asked.
func (g *Guest) Remove(ctx context.Context, path string, recursive bool) error {
	_, err := g.file(ctx, fileRequest{Op: "remove", Path: path, All: recursive})
	return err
}

// Symlink makes a symbolic link in place of whatever file has its name.
func (g *Guest) Symlink(ctx context.Context, target, path string) error {
	_, err := g.file(ctx, fileRequest{Op: "symlink", Path: path, Target: target})
	return err
}

// ReadDir lists a directory, sorted by name.
func (g *Guest) ReadDir(ctx context.Context, path string) ([]fs.FileInfo, error) {
	return g.file(ctx, fileRequest{Op: "readdir", Path: path})
}

// Stat follows symbolic links.
func (g *Guest) Stat(ctx context.Context, path string) (fs.FileInfo, error) {
	infos, err := g.file(ctx, fileRequest{Op: "stat", Path: path})
	if err != nil {
		return nil, err
	}
	if len(infos) != 1 {
		return nil, fmt.Errorf("stat %s: %d answers", path, len(infos))
	}
	return infos[0], nil
}

// Mount puts overlays and binds into the running sandbox.
func (g *Guest) Mount(ctx context.Context, overlays []mounter.Overlay, binds []mounter.Bind) error {
	fds, err := g.mounter.Mount(ctx, mounter.Request{Dir: g.dir, Overlays: overlays, Binds: binds})
	if err != nil {
		return err
	}
	defer self.CloseAll(fds)
	_, _, err = g.call(ctx, request{Mount: &mountRequest{Targets: targets(overlays, binds)}}, fds...)
	return err
}

// CopyLayer copies an overlay's upper directory, while it is in use, into an
// empty directory.
func (g *Guest) CopyLayer(ctx context.Context, dst, upper *os.File) error {
	return g.copy(ctx, dst, upper, tree.Layer)
}

// OpenDir opens a directory of the sandbox, for CopyTree alone. The caller
// closes it.
func (g *Guest) OpenDir(ctx context.Context, path string) (*os.File, error) {
	fd, err := g.descriptor(ctx, request{File: &fileRequest{Op: "open", Path: path, Flag: os.O_RDONLY | unix.O_DIRECTORY}})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// CopyTree copies a directory of the sandbox into an empty one of the host.
func (g *Guest) CopyTree(ctx context.Context, dst, src *os.File) error {
	return g.copy(ctx, dst, src, tree.Plain)
}

// copy copies what the sandbox has while it lives: what goes away with it would
// be missing.
func (g *Guest) copy(ctx context.Context, dst, src *os.File, kind tree.Kind) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	defer func() {
		cancel(nil)
		<-watched
	}()
	go func() {
		defer close(watched)
		select {
		case <-g.Done():
			cancel(ErrGone)
		case <-ctx.Done():
		}
	}()
	err := g.mounter.Copy(ctx, dst, src, kind)
	select {
	case <-g.Done():
		return ErrGone
	default:
		return err
	}
}

func (g *Guest) file(ctx context.Context, r fileRequest) ([]fs.FileInfo, error) {
	a, _, err := g.call(ctx, request{File: &r})
	if err != nil {
		return nil, err
	}
	infos := make([]fs.FileInfo, len(a.Infos))
	for i, info := range a.Infos {
		infos[i] = info
	}
	return infos, nil
}
