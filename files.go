package seer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/archive"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// WriteFile stores data in a file of the sandbox and creates its parent
// directories. It is atomic: who reads the file sees the old content or the
// new. A new file has mode 0644; an existing one keeps its mode and owner,
// while other names of it, hard links, keep the old content. A symbolic link is
// followed. A path that ends in a slash, a directory, a named pipe, a socket or
// a device is an error. A relative path starts at the sandbox's working
// directory, as commands do.
func (s *Sandbox) WriteFile(ctx context.Context, path string, data []byte) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	return s.fileError(remote.WriteFile(ctx, path, bytes.NewReader(data), 0))
}

// ReadFile returns the content of a file of the sandbox, read to its end. A
// missing one matches [fs.ErrNotExist]; a directory, a named pipe, a socket or
// a device is an error, and so is one that is larger than [WithOutputLimit]
// says, or endless: [ErrOutputLimit]. Download takes files of any size.
func (s *Sandbox) ReadFile(ctx context.Context, path string) ([]byte, error) {
	remote, err := s.running()
	if err != nil {
		return nil, err
	}
	data, err := remote.ReadAtMost(ctx, path, cmp.Or(s.opts.outputLimit, defaultFileLimit))
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
// sandbox, with content, holes and mode bits; files belong to the sandbox's
// user. It is one stream, however many files.
//
// A link that is named itself is followed; links inside a tree stay links. A
// named pipe, a socket or a device is an error where it is named itself; inside
// a tree it is left out, as is a file that vanishes meanwhile, and one warning
// of the logger lists them. A file that changes meanwhile arrives as it was at
// some moment.
//
// A tree is merged into a directory that is there already, also behind a
// symbolic link, and replaces nothing else; a file replaces a file or a link,
// and nothing else. Inside a tree, what is in the way of an entry gives way,
// unless it is a directory with entries.
func (s *Sandbox) Upload(ctx context.Context, localPath, remotePath string) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	return s.upload(ctx, remote, []Mount{{Source: localPath, Target: remotePath}})
}

// upload sends local files and trees as one tar stream.
func (s *Sandbox) upload(ctx context.Context, remote *modalclient.Sandbox, mounts []Mount) error {
	targets := make([]modalclient.Target, len(mounts))
	trees := make([]archive.Tree, len(mounts))
	for i, m := range mounts {
		info, err := os.Stat(m.Source)
		if err != nil {
			return fmt.Errorf("upload: %w", err)
		}
		if !strings.HasPrefix(m.Target, "/") {
			return fmt.Errorf("upload %s: target %q is not an absolute path: %w", m.Source, m.Target, fs.ErrInvalid)
		}
		targets[i] = modalclient.Target{Name: strings.TrimPrefix(m.Target, "/"), Dir: info.IsDir()}
		trees[i] = archive.Tree{Source: m.Source, Name: targets[i].Name}
	}
	var left omissions
	reader, writer := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		_ = writer.CloseWithError(archive.Tar(writer, left.add, trees...)) // the reader gets the error
	}()
	err := remote.Upload(ctx, reader, "/", targets...)
	_ = reader.CloseWithError(errors.New("upload has ended"))
	<-packed
	left.warn(ctx, s.opts.logger, "upload")
	return s.fileError(err)
}

// Download copies a file or a directory tree of the sandbox to a path of this
// machine, with content, holes and mode bits. What is there already is
// overwritten, file by file; nothing but a file or a link is replaced by a file.
//
// A link that is named itself is followed. Inside a tree, links that cannot
// lead out of it stay links. All others are left out, as are named pipes,
// sockets and devices, and one warning of the logger lists them; a special file
// that is named itself is an error. What vanishes meanwhile is left out, what
// is cut meanwhile is read anew.
//
// The sandbox is not trusted: nothing is written outside localPath, not through
// links either; set-user-ID bits and owners are not taken over; and it ends with
// an error at 4 million entries, at 1 TiB of holes, and before the disk is full:
// a twentieth of it stays free, or 1 GiB.
func (s *Sandbox) Download(ctx context.Context, remotePath, localPath string) error {
	remote, err := s.running()
	if err != nil {
		return err
	}
	var left omissions
	var again []string
	for range downloadAttempts {
		if again, err = s.download(ctx, remote, remotePath, localPath, &left, again); err != nil || len(again) == 0 {
			break
		}
	}
	for _, name := range again {
		left.add(name, "shrinks again and again: zeros stand for its end")
	}
	left.warn(ctx, s.opts.logger, "download")
	return s.fileError(err)
}

const (
	downloadAttempts = 3    // of files that are cut while they are read
	maxAgain         = 1000 // files that are read anew
)

// download copies what is at a path, or again some files of it, and returns
// those that the sandbox said to be short.
func (s *Sandbox) download(ctx context.Context, remote *modalclient.Sandbox, from, to string, left *omissions, again []string) ([]string, error) {
	stream, err := remote.Download(ctx, from, again...)
	if err != nil {
		return nil, err
	}
	unpack := archive.Extract
	if info, err := os.Stat(to); len(again) > 0 && err == nil && info.IsDir() {
		unpack = archive.Untar
	}
	err = unpack(stream, to, archive.Options{Skipped: left.add})
	if err := errors.Join(err, stream.Close()); err != nil {
		return nil, err
	}
	for _, name := range stream.Sockets() {
		left.add(name, "is a socket")
	}
	short := stream.Short()
	return short[:min(len(short), maxAgain)], nil
}

// omissions lists what a transfer does not copy.
type omissions struct {
	list []string
	more int
}

const maxListed = 20

func (l *omissions) add(name, reason string) {
	if len(l.list) == maxListed {
		l.more++
		return
	}
	l.list = append(l.list, strconv.Quote(name)+" "+reason)
}

func (l *omissions) warn(ctx context.Context, logger *slog.Logger, op string) {
	if len(l.list) > 0 {
		logger.WarnContext(ctx, "not everything was copied", "operation", op, "entries", l.list, "more", l.more)
	}
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
