package seer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/archive"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// WriteFile stores data in a file of the sandbox and creates its parent
// directories. It is atomic: who reads the file sees the old content or the
// new. A new file has mode 0644; an existing one keeps its own.
func (s *Sandbox) WriteFile(ctx context.Context, path string, data []byte) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	return s.fileError(remote.WriteFile(ctx, path, bytes.NewReader(data), 0))
}

// ReadFile returns the content of a file of the sandbox. A missing one
// matches [fs.ErrNotExist].
func (s *Sandbox) ReadFile(ctx context.Context, path string) ([]byte, error) {
	remote, err := s.running()
	if err != nil {
		return nil, err
	}
	data, err := remote.ReadFile(ctx, path)
	return data, s.fileError(err)
}

// EnsureDir makes a directory of the sandbox, with its parents. One that
// exists already is no error.
func (s *Sandbox) EnsureDir(ctx context.Context, path string) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	return s.fileError(remote.EnsureDir(ctx, path))
}

// Upload copies a file or a directory tree of this machine to a path of the
// sandbox, with content, mode bits and symbolic links. A tree is merged into a
// directory that is there already, also behind a symbolic link; a file replaces
// none. It is one stream, however many files.
func (s *Sandbox) Upload(ctx context.Context, localPath, remotePath string) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	return s.upload(ctx, remote, []Mount{{Source: localPath, Target: remotePath}})
}

// upload sends local files and trees as one tar stream.
func (s *Sandbox) upload(ctx context.Context, remote *modalclient.Sandbox, mounts []Mount) error {
	var files []string
	for _, m := range mounts {
		info, err := os.Stat(m.Source)
		if err != nil {
			return fmt.Errorf("upload: %w", err)
		}
		if !strings.HasPrefix(m.Target, "/") {
			return fmt.Errorf("upload %s: target %q is not an absolute path: %w", m.Source, m.Target, fs.ErrInvalid)
		}
		if !info.IsDir() {
			files = append(files, strings.TrimPrefix(m.Target, "/"))
		}
	}
	trees := make([]archive.Tree, len(mounts))
	for i, m := range mounts {
		trees[i] = archive.Tree{Source: m.Source, Name: strings.TrimPrefix(m.Target, "/")}
	}
	reader, writer := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		_ = writer.CloseWithError(archive.Tar(writer, trees...)) // the reader gets the error
	}()
	err := remote.Upload(ctx, reader, "/", files...)
	_ = reader.CloseWithError(errors.New("upload has ended"))
	<-packed
	return s.fileError(err)
}

// Download copies a file or a directory tree of the sandbox to a path of this
// machine. What is there already is overwritten, file by file. The sandbox is
// not trusted: nothing is written outside localPath, not through links either.
func (s *Sandbox) Download(ctx context.Context, remotePath, localPath string) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	stream, err := remote.Download(ctx, remotePath)
	if err != nil {
		return s.fileError(err)
	}
	err = archive.Extract(stream, localPath)
	return s.fileError(errors.Join(err, stream.Close()))
}

// fileError keeps the *fs.PathError of a file operation as it is and
// translates what else may go wrong.
func (s *Sandbox) fileError(err error) error {
	var pathError *fs.PathError
	if err == nil || errors.As(err, &pathError) {
		return err
	}
	return s.callError("transfer files", err)
}
