//go:build linux

package guest

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileRequest is one call on the sandbox's files.
type fileRequest struct {
	Op     string // open, mkdir, remove, readdir, stat or symlink
	Path   string
	Flag   int
	Perm   fs.FileMode
	All    bool   // parents of mkdir, children of remove
	Target string // of a symbolic link
}

func serveFile(c conversation, r *fileRequest) error {
	if !strings.HasPrefix(r.Path, "/") {
		return &fs.PathError{Op: r.Op, Path: r.Path, Err: unix.EINVAL}
	}
	var infos []fileInfo
	var err error
	switch r.Op {
	case "open":
		return openFile(c, r)
	case "mkdir":
		err = makeDir(r)
	case "remove":
		err = remove(r)
	case "symlink":
		err = symlink(r)
	case "readdir":
		infos, err = readDir(r.Path)
	case "stat":
		var info fs.FileInfo
		if info, err = os.Stat(r.Path); err == nil {
			infos = []fileInfo{newFileInfo(info)}
		}
	default:
		err = &fs.PathError{Op: r.Op, Path: r.Path, Err: unix.EOPNOTSUPP}
	}
	if err != nil {
		return err
	}
	return c.send(answer{Infos: infos})
}

func openFile(c conversation, r *fileRequest) error {
	f, err := os.OpenFile(r.Path, r.Flag, r.Perm)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := refuseOwn(f, r.Path); err != nil {
		return err
	}
	return c.send(answer{}, int(f.Fd()))
}

// refuseOwn refuses this process's own files of /proc, to which a symbolic
// link from inside may lead.
func refuseOwn(f *os.File, path string) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if s.Type != unix.PROC_SUPER_MAGIC {
		return nil
	}
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil || strings.HasPrefix(name, "/proc/1/") {
		return &fs.PathError{Op: "open", Path: path, Err: unix.EACCES}
	}
	return nil
}

func makeDir(r *fileRequest) error {
	if r.All {
		return os.MkdirAll(r.Path, 0o755)
	}
	return os.Mkdir(r.Path, 0o755)
}

func remove(r *fileRequest) error {
	if !r.All {
		return os.Remove(r.Path)
	}
	if _, err := os.Lstat(r.Path); err != nil {
		return err
	}
	return os.RemoveAll(r.Path)
}

// symlink replaces a link or file of that name.
func symlink(r *fileRequest) error {
	if info, err := os.Lstat(r.Path); err == nil && !info.IsDir() {
		if err := os.Remove(r.Path); err != nil {
			return err
		}
	}
	if err := os.Symlink(r.Target, r.Path); err != nil {
		return &fs.PathError{Op: "symlink", Path: r.Path, Err: errors.Unwrap(err)}
	}
	return nil
}

func readDir(path string) ([]fileInfo, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	infos := make([]fileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, syscall.ENOENT) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, newFileInfo(info))
	}
	return infos, nil
}
