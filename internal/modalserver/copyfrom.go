package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// imageFiles opens the files of another image. It is looked at from a sandbox
// on the layer's base, since it need not have anything that can run.
func (st *stager) imageFiles(ctx context.Context, name string) (fs.FS, error) {
	image, err := st.server.baseImage(ctx, st.log, st.layer, name)
	if err != nil {
		return nil, err
	}
	if st.viewer == nil {
		st.viewer, err = st.server.runtime.Start(ctx, runtime.Spec{
			ID:      newID("sb-"),
			Image:   st.base,
			Command: stayAlive[:],
			Network: runtime.Network{Blocked: true},
		})
		if err != nil {
			return nil, err
		}
	}
	st.viewed++
	root := "/.copy-from-" + strconv.Itoa(st.viewed)
	if err := st.viewer.Files().Mkdir(ctx, root, true); err != nil {
		return nil, err
	}
	if err := st.viewer.MountImage(ctx, root, image.ID); err != nil {
		return nil, err
	}
	return sandboxFS{ctx: ctx, files: st.viewer.Files(), root: root}, nil
}

// close ends the sandbox that other images were looked at from.
func (st *stager) close() error {
	if st.viewer == nil {
		return nil
	}
	return st.viewer.Terminate(context.Background())
}

// sandboxFS reads a directory of a sandbox. Symbolic links are followed when
// they are opened, and refused when they are met in a directory.
type sandboxFS struct {
	ctx   context.Context
	files runtime.Files
	root  string
}

func (f sandboxFS) path(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(f.root, name), nil
}

// Stat describes a file.
func (f sandboxFS) Stat(name string) (fs.FileInfo, error) {
	inside, err := f.path("stat", name)
	if err != nil {
		return nil, err
	}
	return f.files.Stat(f.ctx, inside)
}

// ReadDir lists a directory.
func (f sandboxFS) ReadDir(name string) ([]fs.DirEntry, error) {
	inside, err := f.path("readdir", name)
	if err != nil {
		return nil, err
	}
	infos, err := f.files.ReadDir(f.ctx, inside)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		entries[i] = fs.FileInfoToDirEntry(info)
	}
	return entries, nil
}

// Open opens a file for reading. A directory opens, and is read with ReadDir.
func (f sandboxFS) Open(name string) (fs.File, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		dir, err := emptyDir{}.Open(".")
		return dir, err
	}
	inside, err := f.path("open", name)
	if err != nil {
		return nil, err
	}
	file, err := f.files.OpenFile(f.ctx, inside, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return describedFile{file, info}, nil
}

// ReadLink refuses: links lead elsewhere in the image than in the copy.
func (f sandboxFS) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fmt.Errorf("copy a symbolic link: %w", errors.ErrUnsupported)}
}

// Lstat describes a file as its directory has it.
func (f sandboxFS) Lstat(name string) (fs.FileInfo, error) { return f.Stat(name) }

type describedFile struct {
	runtime.File
	info fs.FileInfo
}

func (f describedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
