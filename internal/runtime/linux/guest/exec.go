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
)

type killRequest struct {
	Process int // 0 = all
	Signal  syscall.Signal
}

// exec starts a process, answers with its number, and again when it has ended.
// It closes stdio.
func (a *agent) exec(c conversation, cmd *Command, stdio []int) error {
	p, master, err := a.start(cmd, stdio)
	closeAll(stdio)
	if err != nil {
		return err
	}
	number := a.sessions.remember(p)
	defer a.sessions.end(number)
	var passed []int
	if master != nil {
		passed = append(passed, int(master.Fd()))
	}
	err = c.send(answer{Process: number}, passed...)
	if master != nil {
		err = errors.Join(err, master.Close())
	}
	status := <-p.ended
	if err != nil {
		return err
	}
	if status.Signaled() {
		return c.send(exit{Signal: int(status.Signal())})
	}
	return c.send(exit{Code: status.ExitStatus()})
}

func (a *agent) start(cmd *Command, stdio []int) (*process, *os.File, error) {
	if len(cmd.Args) == 0 {
		return nil, nil, &os.PathError{Op: "exec", Path: "", Err: unix.EINVAL}
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/"
	}
	if err := checkDir(dir); err != nil {
		return nil, nil, err
	}
	path, err := lookPath(cmd.Args[0], dir, cmd.Env)
	if err != nil {
		return nil, nil, err
	}
	credential, err := lookUser(cmd.User)
	if err != nil {
		return nil, nil, err
	}
	attr := &syscall.ProcAttr{Dir: dir, Env: cmd.Env, Sys: &syscall.SysProcAttr{Setsid: true, Credential: credential}}
	if cmd.Terminal == nil {
		for _, fd := range stdio {
			attr.Files = append(attr.Files, uintptr(fd))
		}
		p, err := a.spawner.start(path, cmd.Args, attr)
		return p, nil, err
	}
	master, slave, err := openTerminal(*cmd.Terminal)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = slave.Close() }()
	attr.Files = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
	attr.Sys.Setctty = true
	p, err := a.spawner.start(path, cmd.Args, attr)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return p, master, nil
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &os.PathError{Op: "chdir", Path: dir, Err: errors.Unwrap(err)}
	}
	if !info.IsDir() {
		return &os.PathError{Op: "chdir", Path: dir, Err: unix.ENOTDIR}
	}
	return nil
}

// lookPath finds a program as execvp does, in the PATH of its environment to be.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, name)
		}
		if err := executable(path); err != nil {
			return "", &os.PathError{Op: "exec", Path: name, Err: err}
		}
		return path, nil
	}
	err := error(unix.ENOENT)
	for _, d := range filepath.SplitList(variable(env, "PATH")) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		path := filepath.Join(d, name)
		switch e := executable(path); {
		case e == nil:
			return path, nil
		case errors.Is(e, unix.EACCES):
			err = e
		}
	}
	return "", &os.PathError{Op: "exec", Path: name, Err: err}
}

func executable(path string) error {
	info, err := os.Stat(path)
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

func (a *agent) kill(c conversation, r *killRequest) error {
	if r.Process == 0 {
		// Every process but this one.
		if err := syscall.Kill(-1, r.Signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill processes: %w", err)
		}
		return c.send(answer{})
	}
	if p := a.sessions.hold(r.Process); p != nil {
		defer a.sessions.letGo(p)
		if err := a.spawner.kill(p, r.Signal); err != nil {
			return err
		}
	}
	return c.send(answer{})
}
