package seer

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FS shows the sandbox's files, from its root directory on, as an [io/fs.FS]
// that is also a ReadFileFS, ReadDirFS, StatFS and ReadLinkFS. Paths have no leading
// slash: "workspace/config.json". Every call is one command in the sandbox;
// ctx bounds them all. A directory with more than 250,000 entries is an error
// that matches [ErrOutputLimit].
func (s *Sandbox) FS(ctx context.Context) fs.FS { return &sandboxFS{ctx: ctx, sandbox: s} }

type sandboxFS struct {
	ctx     context.Context //nolint:containedctx // io/fs has no room for one in its methods
	sandbox *Sandbox
}

// find prints, for each entry, what parseEntry reads.
//
//go:embed scripts/find.sh
var findScript string

func (f *sandboxFS) Open(name string) (fs.File, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, reop(err, "open")
	}
	return &sandboxFile{fs: f, name: name, info: info}, nil
}

func (f *sandboxFS) Stat(name string) (fs.FileInfo, error) { return f.one("stat", name) }

func (f *sandboxFS) Lstat(name string) (fs.FileInfo, error) { return f.one("lstat", name) }

func (f *sandboxFS) ReadLink(name string) (string, error) {
	e, err := f.one("lstat", name)
	if err != nil {
		return "", reop(err, "readlink")
	}
	if e.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return e.link, nil
}

func (f *sandboxFS) one(mode, name string) (*entry, error) {
	entries, err := f.find(mode, name)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, &fs.PathError{Op: mode, Path: name, Err: fs.ErrNotExist}
	}
	entries[0].name = path.Base(name)
	return entries[0], nil
}

func (f *sandboxFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := f.find("list", name)
	if err != nil {
		return nil, reop(err, "readdir")
	}
	dir := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		dir[i] = fs.FileInfoToDirEntry(e)
	}
	slices.SortFunc(dir, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return dir, nil
}

func (f *sandboxFS) ReadFile(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	data, err := f.sandbox.ReadFile(f.ctx, "/"+name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return data, nil
}

func (f *sandboxFS) find(mode, name string) ([]*entry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: mode, Path: name, Err: fs.ErrInvalid}
	}
	cmd := f.sandbox.Command("sh", "-c", findScript, "find", mode, path.Join("/", name))
	cmd.OutputLimit, cmd.own = entryLimit, true
	if mode == "list" {
		cmd.OutputLimit = listLimit
	}
	out, err := cmd.Output(f.ctx)
	if err != nil {
		return nil, &fs.PathError{Op: mode, Path: name, Err: findError(err)}
	}
	var entries []*entry
	fields := strings.SplitN(string(out), "\x00", listEntries*entryFields+2)
	if len(fields) > listEntries*entryFields {
		return nil, &fs.PathError{Op: mode, Path: name, Err: fmt.Errorf("more than %d entries: %w", listEntries, ErrOutputLimit)}
	}
	for ; len(fields) >= entryFields; fields = fields[entryFields:] {
		e, err := parseEntry(fields)
		if err != nil {
			return nil, &fs.PathError{Op: mode, Path: name, Err: err}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// findError is the file system's error behind a find that failed.
func findError(err error) error {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return err
	}
	for words, known := range map[string]error{
		"No such file or directory": fs.ErrNotExist,
		"Permission denied":         fs.ErrPermission,
		"Not a directory":           errors.New("not a directory"),
	} {
		if strings.Contains(exit.Stderr, words) {
			return known
		}
	}
	return err
}

// entry is what the sandbox says of a file.
type entry struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
	link    string // where a symbolic link points
}

const (
	entryFields = 6

	entryLimit  = 64 << 10 // bytes of what is said of one file
	listLimit   = 64 << 20 // of a directory
	listEntries = 250_000  // of a directory
)

// parseEntry reads type letter, permissions in octal, size, time, name and link target.
func parseEntry(fields []string) (*entry, error) {
	perm, permErr := strconv.ParseUint(fields[1], 8, 32)
	size, sizeErr := strconv.ParseInt(fields[2], 10, 64)
	modTime, timeErr := parseTime(fields[3])
	if err := errors.Join(permErr, sizeErr, timeErr); err != nil {
		return nil, fmt.Errorf("parse listing: %w", err)
	}
	mode := fs.FileMode(perm & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if perm&bit != 0 {
			mode |= flag
		}
	}
	switch fields[0] {
	case "f":
	case "d":
		mode |= fs.ModeDir
	case "l", "N", "L":
		mode |= fs.ModeSymlink
	case "p":
		mode |= fs.ModeNamedPipe
	case "s":
		mode |= fs.ModeSocket
	case "c":
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case "b":
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return &entry{name: fields[4], size: size, mode: mode, modTime: modTime, link: fields[5]}, nil
}

func parseTime(text string) (time.Time, error) {
	seconds, fraction, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	nano, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(sec, nano), nil
}

func (e *entry) Name() string       { return e.name }
func (e *entry) Size() int64        { return e.size }
func (e *entry) Mode() fs.FileMode  { return e.mode }
func (e *entry) ModTime() time.Time { return e.modTime }
func (e *entry) IsDir() bool        { return e.mode.IsDir() }
func (e *entry) Sys() any           { return nil }

// sandboxFile is an open file or directory. Its content is fetched by the
// first read, whole: what a reader sees never changes under it.
type sandboxFile struct {
	fs      *sandboxFS
	name    string
	info    fs.FileInfo
	content io.ReadSeeker
	entries []fs.DirEntry
	listed  bool
	closed  bool
}

func (f *sandboxFile) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, f.error("stat", fs.ErrClosed)
	}
	return f.info, nil
}

func (f *sandboxFile) Read(p []byte) (int, error) {
	if err := f.fetch("read"); err != nil {
		return 0, err
	}
	return f.content.Read(p)
}

func (f *sandboxFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.fetch("seek"); err != nil {
		return 0, err
	}
	return f.content.Seek(offset, whence)
}

func (f *sandboxFile) fetch(op string) error {
	switch {
	case f.closed:
		return f.error(op, fs.ErrClosed)
	case f.info.IsDir():
		return f.error(op, errors.New("is a directory"))
	case f.content != nil:
		return nil
	}
	data, err := f.fs.ReadFile(f.name)
	if err != nil {
		return reop(err, op)
	}
	f.content = bytes.NewReader(data)
	return nil
}

func (f *sandboxFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if f.closed {
		return nil, f.error("readdir", fs.ErrClosed)
	}
	if !f.info.IsDir() {
		return nil, f.error("readdir", errors.New("not a directory"))
	}
	if !f.listed {
		entries, err := f.fs.ReadDir(f.name)
		if err != nil {
			return nil, err
		}
		f.entries, f.listed = entries, true
	}
	if n <= 0 {
		n = len(f.entries)
	} else if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	head := f.entries[:n]
	f.entries = f.entries[n:]
	return head, nil
}

func (f *sandboxFile) Close() error {
	if f.closed {
		return f.error("close", fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *sandboxFile) error(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func reop(err error, op string) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return &fs.PathError{Op: op, Path: pathError.Path, Err: pathError.Err}
	}
	return err
}
