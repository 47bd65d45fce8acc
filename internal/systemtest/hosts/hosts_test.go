//go:build linux

package hosts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/local"
)

// This program is also the one that makes a machine, and the one that starts a
// sandbox on it, as root or as another user.
const (
	shapeVariable = "SEER_TEST_HOST_SHAPE"
	startVariable = "SEER_TEST_HOST_START"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(startVariable) != "":
		start()
	case os.Getenv(shapeVariable) != "":
		become(os.Getenv(shapeVariable))
	default:
		os.Exit(m.Run())
	}
}

// outcome is what the innermost program found.
type outcome struct {
	Output string
	Err    string
}

// start starts a sandbox as any program does.
func start() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	backend := local.New()
	var o outcome
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err == nil {
		o.Output, err = sandbox.Exec(ctx, os.Getenv(startVariable))
		if end := sandbox.Terminate(ctx); err == nil {
			err = end
		}
	}
	if err == nil {
		err = backend.Close()
	}
	if err != nil {
		o.Err = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		panic(err)
	}
}

// shape is a kind of machine.
type shape struct {
	// make changes the mounts of this process's own namespace. Dir is empty and
	// on a file system that takes sandboxes.
	make  func(dir string) error
	flags uintptr // namespaces beside that of mounts
	// command runs in the sandbox; "" = "echo hi". Its output has to be want; "" = "hi".
	command, want string
	// problem is part of the error instead; "" = it works.
	problem string
	only    string // "root" or "user": the kind of user for whom the shape makes a difference; "" = both
	// long says that it runs with other slow tests only: it makes a base of its own,
	// as its files differ, or is like another shape.
	long bool
	own  bool // a state directory of its own
}

func shapes() map[string]shape {
	return map[string]shape{
		"as it is": {make: func(string) error { return nil }},
		"a file system below usr": {make: func(string) error {
			return unix.Mount("drivers", "/usr/share/man", "tmpfs", 0, "")
		}, own: true},
		"a file mounted below usr": {make: func(dir string) error {
			file := filepath.Join(dir, "driver")
			if err := os.WriteFile(file, []byte("driver"), 0o644); err != nil {
				return err
			}
			return unix.Mount(file, "/usr/bin/arch", "", unix.MS_BIND, "")
		}, own: true, long: true},
		"many mounts below usr and etc": {make: func(dir string) error {
			for _, target := range []string{"/usr/share/man", "/usr/share/doc", "/usr/local/share", "/usr/lib/ssl"} {
				if err := unix.Mount("more", target, "tmpfs", 0, ""); err != nil {
					return err
				}
			}
			return unix.Mount("/etc/hostname", "/etc/hostname", "", unix.MS_BIND, "")
		}, own: true, long: true},
		"usr on an overlay": {make: func(dir string) error { return coverUsr(dir, func(string) error { return nil }) }, own: true, long: true},
		"a root that is read-only": {make: func(dir string) error {
			if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
				return err
			}
			return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		}},
		"state on a tmpfs": {make: func(dir string) error { return unix.Mount("state", dir, "tmpfs", 0, "mode=777") }, own: true, long: true},
		"state on an overlay": {make: func(dir string) error {
			if err := unix.Mount("parts", dir, "tmpfs", 0, "mode=755"); err != nil {
				return err
			}
			for _, part := range []string{"lower", "upper", "work", "state"} {
				if err := os.Mkdir(filepath.Join(dir, part), 0o777); err != nil {
					return err
				}
				if err := os.Chmod(filepath.Join(dir, part), 0o777); err != nil {
					return err
				}
			}
			options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
			if err := unix.Mount("state", filepath.Join(dir, "state"), "overlay", 0, options); err != nil {
				return err
			}
			return unix.Mount(filepath.Join(dir, "state"), dir, "", unix.MS_BIND, "")
		}, problem: "lies on an overlay", own: true},
		"no apt": {make: func(dir string) error {
			return coverUsr(dir, func(usr string) error { return removeAll(usr, "bin/apt*", "bin/dpkg*") })
		}, own: true, long: true},
		"processes of others are hidden": {make: func(string) error {
			return unix.Mount("proc", "/proc", "proc", 0, "hidepid=invisible")
		}, flags: unix.CLONE_NEWPID},
		"no control groups": {make: func(string) error { return unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH) }},
		"control groups of version 2 alone": {make: func(dir string) error {
			if err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH); err != nil {
				return err
			}
			return unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "")
		}},
		"control groups that are read-only": {make: func(string) error {
			if err := unix.Mount("/sys/fs/cgroup", "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return err
			}
			return readOnlyBelow("/sys/fs/cgroup")
		}},
		"user namespaces used up": {make: func(string) error {
			return os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
		}, flags: unix.CLONE_NEWUSER, own: true},
		"an outer container": {make: func(string) error { return nil }, flags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET, only: "root", own: true, long: true},
	}
}

// coverUsr lays an overlay over /usr and changes what is seen there.
func coverUsr(dir string, change func(usr string) error) error {
	parts := filepath.Join(dir, "usr-parts")
	if err := os.Mkdir(parts, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("parts", parts, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, part := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(parts, part), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/usr,upperdir=%[1]s/upper,workdir=%[1]s/work", parts)
	if err := unix.Mount("usr", "/usr", "overlay", 0, options); err != nil {
		return err
	}
	return change("/usr")
}

func removeAll(dir string, patterns ...string) error {
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func readOnlyBelow(dir string) error {
	return unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// become makes this process's machine one of a shape, and runs the program
// that starts a sandbox on it.
func become(name string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(3)
		}
	}
	s := shapes()[name]
	dir := os.Getenv("SEER_HOME")
	fail(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if s.flags&unix.CLONE_NEWPID != 0 {
		fail(unix.Mount("proc", "/proc", "proc", 0, ""))
	}
	fail(s.make(dir))
	cmd := exec.CommandContext(context.Background(), os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), startVariable+"="+cmpOr(s.command, "echo hi"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if os.Getenv("SEER_TEST_HOST_USER") == "user" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	fail(cmd.Run())
}

const nobody = 65534

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestHosts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may make machines of other shapes")
	}
	program := copyOfThis(t)
	shared := map[string]string{"root": stateDir(t, "root"), "user": stateDir(t, "user")}
	for name, s := range shapes() {
		if s.long && !longtest.Wanted() {
			continue
		}
		for _, user := range []string{"root", "user"} {
			if s.only != "" && s.only != user || user == "user" && s.flags&unix.CLONE_NEWUSER != 0 {
				continue
			}
			t.Run(name+"/"+user, func(t *testing.T) {
				t.Parallel()
				dir := shared[user]
				if s.own {
					dir = stateDir(t, user)
				}
				cmd := exec.CommandContext(t.Context(), program)
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "SEER_HOME=" + dir, shapeVariable + "=" + name, "SEER_TEST_HOST_USER=" + user}
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | s.flags, Pdeathsig: syscall.SIGKILL}
				if s.flags&unix.CLONE_NEWUSER != 0 {
					cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 1 << 20}}
					cmd.SysProcAttr.GidMappings = cmd.SysProcAttr.UidMappings
				}
				var out, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &stderr
				require.NoError(t, cmd.Run(), stderr.String())
				var got outcome
				require.NoError(t, json.Unmarshal(out.Bytes(), &got), "%s%s", out.String(), stderr.String())
				if s.problem != "" {
					assert.Contains(t, got.Err, s.problem)
					return
				}
				assert.Empty(t, got.Err)
				assert.Equal(t, cmpOr(s.want, "hi"), strings.TrimSpace(got.Output))
			})
		}
	}
}

// stateDir is a directory of the user who starts the sandbox.
func stateDir(t *testing.T, user string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "seer-host-") //nolint:usetesting // others cannot look into the test's
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	if user == "user" {
		require.NoError(t, os.Chown(dir, nobody, nobody))
	}
	return dir
}

// copyOfThis is this program where every user may run it.
func copyOfThis(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "seer-host-program-") //nolint:usetesting // likewise
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // another user runs it
	path := filepath.Join(dir, "hosts")
	require.NoError(t, os.WriteFile(path, data, 0o755)) //nolint:gosec // likewise
	return path
}
