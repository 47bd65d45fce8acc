//go:build linux

package inroot

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Info describes a file. It is an fs.FileInfo that can be encoded.
type Info struct {
	FileName    string
	FileSize    int64
	FileMode    fs.FileMode
	FileModTime time.Time
}

// Name is the base name.
func (i Info) Name() string { return i.FileName }

// Size is in bytes.
func (i Info) Size() int64 { return i.FileSize }

// Mode has the kind of the file, too.
func (i Info) Mode() fs.FileMode { return i.FileMode }

// ModTime is when the content changed last.
func (i Info) ModTime() time.Time { return i.FileModTime }

// IsDir says whether it is a directory.
func (i Info) IsDir() bool { return i.FileMode.IsDir() }

// Sys is nil.
func (i Info) Sys() any { return nil }

func newInfo(name string, stat *unix.Stat_t) Info {
	return Info{
		FileName:    name,
		FileSize:    stat.Size,
		FileMode:    mode(stat.Mode),
		FileModTime: time.Unix(stat.Mtim.Unix()),
	}
}

// special are the permission bits that package fs has elsewhere.
var special = []struct {
	bit  uint32
	mode fs.FileMode
}{{unix.S_ISUID, fs.ModeSetuid}, {unix.S_ISGID, fs.ModeSetgid}, {unix.S_ISVTX, fs.ModeSticky}}

// kernelMode gives a mode's permissions as the kernel takes them.
func kernelMode(mode fs.FileMode) uint32 {
	m := uint32(mode.Perm())
	for _, s := range special {
		if mode&s.mode != 0 {
			m |= s.bit
		}
	}
	return m
}

func mode(m uint32) fs.FileMode {
	out := fs.FileMode(m & 0o777)
	for _, s := range special {
		if m&s.bit != 0 {
			out |= s.mode
		}
	}
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		out |= fs.ModeDir
	case unix.S_IFLNK:
		out |= fs.ModeSymlink
	case unix.S_IFIFO:
		out |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		out |= fs.ModeSocket
	case unix.S_IFBLK:
		out |= fs.ModeDevice
	case unix.S_IFCHR:
		out |= fs.ModeDevice | fs.ModeCharDevice
	}
	return out
}

// Stat describes a file of any kind. It follows symbolic links.
func (r Root) Stat(name string) (Info, error) {
	var stat unix.Stat_t
	fd, err := r.open(name, unix.O_PATH, 0)
	if err == nil {
		err = unix.Fstat(fd, &stat)
		_ = unix.Close(fd)
	}
	return newInfo(path.Base(name), &stat), failed("stat", name, err)
}

// Names lists what a directory holds, in no order.
func (r Root) Names(dir string) ([]string, error) {
	fd, err := r.open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, failed("open", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	defer func() { _ = f.Close() }()
	return f.Readdirnames(-1)
}

// ReadDir describes what a directory holds, sorted by name. What disappears
// meanwhile is left out.
func (r Root) ReadDir(dir string) ([]Info, error) {
	fd, err := r.open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, failed("open", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	infos := make([]Info, 0, len(names))
	for _, name := range names {
		var stat unix.Stat_t
		err := unix.Fstatat(fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, failed("stat", dir+"/"+name, err)
		}
		infos = append(infos, newInfo(name, &stat))
	}
	return infos, nil
}
