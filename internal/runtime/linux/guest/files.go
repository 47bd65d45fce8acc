//go:build linux

package guest

import (
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
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

func (a *agent) serveFile(c self.Conversation, r *fileRequest) error {
	if !strings.HasPrefix(r.Path, "/") {
		return &fs.PathError{Op: r.Op, Path: r.Path, Err: unix.EINVAL}
	}
	var out answer
	var opened []int
	var err error
	if a.noSetID {
		r.Perm &^= fs.ModeSetuid | fs.ModeSetgid
	}
	if started := a.lookups.do(func() { out.Infos, opened, err = a.places.file(r) }); started != nil {
		return started
	}
	defer self.CloseAll(opened)
	if err != nil {
		return err
	}
	return c.Send(out, opened...)
}

func (p places) file(r *fileRequest) (infos []inroot.Info, opened []int, err error) {
	switch r.Op {
	case "open":
		var fd int
		if fd, err = p.root.Open(r.Path, r.Flag, r.Perm); err == nil {
			opened = []int{fd}
			err = p.refuseOwn(fd, r.Path)
		}
	case "mkdir":
		err = p.makeDir(r)
	case "remove":
		err = p.root.Remove(r.Path, r.All)
	case "symlink":
		err = p.root.Symlink(r.Target, r.Path)
	case "readdir":
		infos, err = p.root.ReadDir(r.Path)
	case "stat":
		var info inroot.Info
		info, err = p.root.Stat(r.Path)
		infos = []inroot.Info{info}
	default:
		err = &fs.PathError{Op: r.Op, Path: r.Path, Err: unix.EOPNOTSUPP}
	}
	return infos, opened, err
}

func (p places) makeDir(r *fileRequest) error {
	if !r.All {
		return p.root.Mkdir(r.Path)
	}
	fd, err := p.root.MkdirAll(r.Path)
	self.CloseAll([]int{fd})
	return err
}

// refuseOwn refuses this process's own files of /proc, to which a symbolic
// link from inside may lead: the kernel lets every thread of a process open
// those.
func (p places) refuseOwn(fd int, path string) error {
	refused := &fs.PathError{Op: "open", Path: path, Err: unix.EACCES}
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return refused
	}
	if s.Type != unix.PROC_SUPER_MAGIC {
		return nil
	}
	name, err := p.nameOf(fd)
	if err != nil || name == "/proc/1" || strings.HasPrefix(name, "/proc/1/") {
		return refused
	}
	return nil
}

// nameOf is what the kernel calls an open file.
func (p places) nameOf(fd int) (string, error) {
	name := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(p.proc), "self/fd/"+strconv.Itoa(fd), name)
	return string(name[:max(n, 0)]), err
}
