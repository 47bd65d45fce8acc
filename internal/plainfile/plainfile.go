// Package plainfile reads files where an agent may have put something else: a
// named pipe that nobody writes to, a device, a file of any size, or a link to
// what is none of its business.
package plainfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Limit is how many bytes a file that is read whole may have.
const Limit = 256 << 20

// Read reads a file whole, as long as ctx lasts: a regular one of at most
// [Limit] bytes, and through links only to what lies in its own directory.
func Read(ctx context.Context, path string) ([]byte, error) {
	data, err := read(ctx, path)
	var pathError *fs.PathError
	if errors.As(err, &pathError) { // which names a part of it
		return nil, &fs.PathError{Op: pathError.Op, Path: path, Err: pathError.Err}
	}
	return data, err
}

func read(ctx context.Context, path string) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return ReadIn(ctx, root, filepath.Base(path))
}

// ReadIn is [Read] for a file of a directory.
func ReadIn(ctx context.Context, root *os.Root, name string) ([]byte, error) {
	f, err := Open(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > Limit {
		err = tooLarge(name)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(reader{ctx, f}, Limit+1))
	if err == nil && len(data) > Limit {
		err = tooLarge(name) // it has grown
	}
	return data, err
}

// Open opens a regular file for reading, and nothing else. It waits for nobody.
func Open(root *os.Root, name string) (*os.File, error) {
	info, err := root.Stat(name) // first, for the opening of a device may do something
	if err == nil {
		err = regular(name, info)
	}
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|NonBlocking, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(name, info) // it may be another one by now
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func regular(name string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
}

func tooLarge(name string) error {
	return &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("larger than %d MiB", Limit>>20)}
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // of the one call that reads
	file *os.File
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.file.Read(p)
}
