//go:build linux

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

type killRequest struct {
	Process int // 0 = all
	Signal  syscall.Signal
}

// execRequest comes with three files unless there is a terminal.
type execRequest struct {
	Command
	Null []bool // of the three, which are not passed but /dev/null
}

// exec starts a process, answers with its number, and again when it has ended.
// It closes stdio.
func (a *agent) exec(c self.Conversation, r *execRequest, stdio []int) error {
	p, master, err := a.start(r, stdio)
	self.CloseAll(stdio)
	if err != nil {
		return err
	}
	number := a.sessions.remember(p)
	defer a.sessions.end(number)
	var passed []int
	if master != nil {
		passed = append(passed, int(master.Fd()))
	}
	err = c.Send(answer{Process: number}, passed...)
	if master != nil {
		err = errors.Join(err, master.Close())
	}
	status := <-p.ended
	if err != nil {
		return err
	}
	if status.Signaled() {
		return c.Send(exit{Signal: int(status.Signal())})
	}
	return c.Send(exit{Code: status.ExitStatus()})
}

// found is what a command's words mean in the sandbox.
type found struct {
	dir        int    // descriptor of the path of its directory
	program    string // absolute, or relative to the directory
	credential *syscall.Credential
}

func (a *agent) start(r *execRequest, stdio []int) (*process, *os.File, error) {
	if len(r.Args) == 0 {
		return nil, nil, &os.PathError{Op: "exec", Path: "", Err: unix.EINVAL}
	}
	var f found
	var err error
	if started := a.lookups.do(func() { f, err = find(a.places.root, &r.Command) }); started != nil {
		return nil, nil, started
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = unix.Close(f.dir) }()
	attr := &syscall.ProcAttr{Env: r.Env, Sys: &syscall.SysProcAttr{Setsid: true, Credential: f.credential}}
	if r.Terminal == nil {
		if attr.Files, err = a.places.standard(r.Null, stdio); err != nil {
			return nil, nil, err
		}
		p, err := a.spawner.start(f.dir, f.program, r.Args, attr)
		return p, nil, err
	}
	master, slave, err := openTerminal(a.places.terminals, *r.Terminal)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = slave.Close() }()
	attr.Files = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
	attr.Sys.Setctty = true
	p, err := a.spawner.start(f.dir, f.program, r.Args, attr)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return p, master, nil
}

// standard are the three files of a process.
func (p places) standard(null []bool, passed []int) ([]uintptr, error) {
	var files []uintptr
	for _, n := range null {
		switch {
		case n:
			files = append(files, uintptr(p.null))
		case len(passed) == 0:
			return nil, unix.EINVAL
		default:
			files, passed = append(files, uintptr(passed[0])), passed[1:]
		}
	}
	return files, nil
}

func find(root inroot.Root, cmd *Command) (f found, err error) {
	dir := cmd.Dir
	if dir == "" {
		dir = "/"
	}
	if f.dir, err = root.LookupDir(dir); err != nil {
		return f, &os.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if f.program, err = lookPath(root, cmd.Args[0], dir, cmd.Env); err == nil {
		f.credential, err = lookUser(root, cmd.User)
	}
	if err != nil {
		_ = unix.Close(f.dir)
	}
	return f, err
}

// lookPath finds a program as execvp does, in the PATH of its environment to be.
func lookPath(root inroot.Root, name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if err := executable(root, dir, name); err != nil {
			return "", &os.PathError{Op: "exec", Path: name, Err: err}
		}
		return name, nil
	}
	err := error(unix.ENOENT)
	for _, d := range filepath.SplitList(variable(env, "PATH")) {
		if d == "" {
			d = "."
		}
		path := d + "/" + name
		switch e := executable(root, dir, path); {
		case e == nil:
			return path, nil
		case errors.Is(e, unix.EACCES):
			err = e
		}
	}
	return "", &os.PathError{Op: "exec", Path: name, Err: err}
}

// executable looks at a program whose path may be relative to a directory.
func executable(root inroot.Root, dir, path string) error {
	if !filepath.IsAbs(path) {
		path = dir + "/" + path
	}
	info, err := root.Stat(path)
	switch {
	case err != nil:
		return errors.Unwrap(err)
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return unix.EACCES
	default:
		return nil
	}
}

// variable returns the last value of an environment variable, as the later one wins.
func variable(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

func (a *agent) kill(c self.Conversation, r *killRequest) error {
	if r.Process == 0 {
		// Every process but this one.
		if err := syscall.Kill(-1, r.Signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill processes: %w", err)
		}
		return c.Send(answer{})
	}
	if p := a.sessions.hold(r.Process); p != nil {
		defer a.sessions.letGo(p)
		if err := a.spawner.kill(p, r.Signal); err != nil {
			return err
		}
	}
	return c.Send(answer{})
}
