//go:build linux

package linux_test

import (
	"archive/tar"
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const holdArgument = "hold-until-the-input-ends"

// hold is the program of the tests, run by a sandbox that got at it.
func hold() {
	_, _ = fmt.Fprintln(os.Stdout, "held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// treasure is a directory of the host with a file and a program, and fails the
// test if a sandbox sees or changes it.
func treasure(t *testing.T) string {
	t.Helper()
	dir := tempDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("outside"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program"), []byte("#!/bin/sh\necho outside\n"), 0o755))
	t.Cleanup(func() {
		entries, err := os.ReadDir(dir)
		assert.NoError(t, err)
		assert.Len(t, entries, 2, "something has come to or gone from the host")
		b, err := os.ReadFile(filepath.Join(dir, "file"))
		assert.NoError(t, err)
		assert.Equal(t, "outside", string(b))
	})
	return dir
}

// linksOfProcesses are those that the kernel has for each process and thread a
// sandbox sees, and for whatever looks them up.
func linksOfProcesses(t *testing.T, s runtime.Sandbox) []string {
	t.Helper()
	links := []string{"/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root", "/proc/thread-self/cwd"}
	for _, task := range strings.Fields(sh(t, s, "ls -d /proc/[0-9]* /proc/[0-9]*/task/*")) {
		links = append(links, task+"/root", task+"/cwd")
	}
	for fd := range 20 {
		for _, process := range []string{"1", "self"} {
			links = append(links, "/proc/"+process+"/fd/"+strconv.Itoa(fd))
		}
	}
	return links
}

// Every path that the host names on behalf of a caller, through every link of
// every process of the sandbox.
func TestNoPathLeavesTheSandbox(t *testing.T) {
	dir := treasure(t)
	s := start(t, newRuntime(t))
	ctx, files := t.Context(), s.Files()
	for _, link := range linksOfProcesses(t, s) {
		sh(t, s, "ln -sfn "+link+dir+" /tmp/way; printf '#!"+link+dir+"/program\n' > /tmp/script; chmod +x /tmp/script")
		for _, way := range []string{link + dir, "/tmp/way"} {
			p, err := s.Exec(ctx, runtime.ExecSpec{Args: []string{"cat", "file"}, Workdir: way})
			if err == nil {
				assert.NotContains(t, finish(t, p).stdout, "outside", "directory %s", way)
			}
			for _, spec := range []runtime.ExecSpec{
				{Args: []string{way + "/program"}},
				{Args: []string{"program"}, Env: []string{"PATH=" + way}},
			} {
				p, err := s.Exec(ctx, spec)
				if err == nil {
					assert.NotContains(t, finish(t, p).stdout, "outside", "%v", spec)
				}
			}
			_, err = files.Stat(ctx, way+"/file")
			assert.Error(t, err, way)
			_, err = files.ReadDir(ctx, way)
			assert.Error(t, err, way)
			_, err = files.OpenFile(ctx, way+"/file", os.O_RDWR|os.O_TRUNC, 0)
			assert.Error(t, err, way)
			_, err = files.OpenFile(ctx, way+"/new", os.O_WRONLY|os.O_CREATE, 0o644)
			assert.Error(t, err, way)
			assert.Error(t, files.Mkdir(ctx, way+"/new/directory", true), way)
			assert.Error(t, files.Remove(ctx, way+"/file", false), way)
			assert.Error(t, files.Remove(ctx, way+"/.", true), way)
		}
		p, err := s.Exec(ctx, runtime.ExecSpec{Args: []string{"/tmp/script"}})
		if err == nil {
			assert.NotContains(t, finish(t, p).stdout, "outside", "interpreter %s", link)
		}
	}
	for _, link := range linksOfProcesses(t, s)[:12] {
		_, err := s.SnapshotDir(ctx, link+dir)
		assert.Error(t, err, link)
		assert.Error(t, s.MountImage(ctx, link+dir+"/new", ""), link)
	}
	for _, kernel := range []string{"/proc", "/proc/1", "/proc/sys", "/sys"} {
		_, err := s.SnapshotDir(ctx, kernel)
		assert.Error(t, err, kernel)
	}
}

// A snapshot of a sandbox that has links where the next start writes, and a
// table that no reader comes to the end of.
func TestStartOnHostileFiles(t *testing.T) {
	dir := treasure(t)
	r := newRuntime(t)
	s := start(t, r)
	for _, task := range strings.Fields(sh(t, s, "ls /proc/1/task")) {
		sh(t, s, "mv /etc /etc.old; ln -s /proc/1/task/"+task+"/root"+dir+" /etc")
		img, err := s.Snapshot(t.Context())
		require.NoError(t, err)
		_, err = r.Start(t.Context(), runtime.Spec{ID: sandboxID(t), Image: img.ID, Command: []string{"true"}})
		assert.Error(t, err, "its /etc is a link to a process")
		sh(t, s, "rm /etc; mv /etc.old /etc")
	}
	sh(t, s, "rm -f /etc/hosts; mkfifo /etc/hosts; rm -f /etc/hostname; mkdir -p /etc/hostname/deep; ln -sf "+dir+"/file /etc/resolv.conf")
	img, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	restored := start(t, r, on(img))
	assert.Equal(t, sh(t, restored, "hostname"), sh(t, restored, "cat /etc/hostname"))
	assert.Contains(t, sh(t, restored, "cat /etc/hosts"), "localhost")
}

// An image may have anything where the kernel's file systems go.
func TestImageWithLinksForTheKernel(t *testing.T) {
	dir := treasure(t)
	for _, target := range []string{dir, "/data", "/nowhere", "../../../.." + dir} {
		entries := append(programs(t, "/bin/sh", "/bin/cat", "/bin/ls", "/bin/sleep"), entry{h: tar.Header{Name: "data/file", Typeflag: tar.TypeReg}})
		for _, name := range []string{"proc", "sys", "dev"} {
			entries = append(entries, entry{h: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}})
		}
		r := newRuntime(t)
		img, err := r.Pull(t.Context(), push(t, entries), runtime.PullOptions{Log: testWriter{t}})
		require.NoError(t, err)
		s := start(t, r, on(img))
		assert.Equal(t, "seer-sandbox\x00", sh(t, s, "cat /proc/1/cmdline"), target)
		assert.Equal(t, "x\n", sh(t, s, "echo x > /dev/null; echo x > /dev/shm/file; cat /dev/shm/file"), target)
		assert.Equal(t, "file\n", sh(t, s, "ls /data"), target)
	}
}

// What a sandbox can get at of the host's program it cannot change.
func TestProgramOfTheHostCannotBeChanged(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	before, err := os.Stat(self)
	require.NoError(t, err)
	t.Cleanup(func() {
		if now, err := os.Stat(self); err == nil && now.Mode() != before.Mode() {
			assert.NoError(t, os.Chmod(self, before.Mode()))
		}
	})
	s := start(t, newRuntime(t))
	for i, link := range []string{"/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe"} {
		script := fmt.Sprintf("/tmp/script%d", i)
		put(t, s, script, "#!"+link+" "+holdArgument+"\n", 0o755)
		p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{script}})
		if err == nil {
			_, _ = bufio.NewReader(p.Stdout()).ReadString('\n')
		}
		got := run(t, s, "sh", "-c", `for p in /proc/[0-9]*/exe; do
			case $(readlink $p) in /usr/*|/bin/*) continue;; esac
			chmod 4777 $p; chown 1:1 $p; touch $p; echo x > $p; rm -f /tmp/link; ln -L $p /tmp/link && chmod 4777 /tmp/link; done`)
		after, err := os.Stat(self)
		require.NoError(t, err)
		assert.Equal(t, before.Mode(), after.Mode(), got.stderr)
		assert.Equal(t, before.ModTime(), after.ModTime(), got.stderr)
		assert.Equal(t, before.Size(), after.Size(), got.stderr)
		if p != nil {
			finish(t, p)
		}
	}
}

// Devices are the host's own files: they can be used, and no more.
func TestDevicesOfTheHostCannotBeChanged(t *testing.T) {
	describe := func() string {
		var b strings.Builder
		for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
			info, err := os.Stat("/dev/" + name)
			require.NoError(t, err)
			_, _ = fmt.Fprintln(&b, name, info.Mode(), info.ModTime())
		}
		return b.String()
	}
	before := describe()
	s := start(t, newRuntime(t))
	got := run(t, s, "sh", "-c", `for d in null zero full random urandom tty; do
		chmod 600 /dev/$d && echo mode of $d; touch -d @0 /dev/$d && echo time of $d; chown 1:1 /dev/$d
		rm -f /dev/$d; mv /dev/$d /dev/moved && echo moved $d; done`)
	assert.NotContains(t, got.stdout, " of ", got.stderr)
	assert.NotContains(t, got.stdout, "moved", got.stderr)
	assert.Equal(t, "written\n", sh(t, s, "echo x > /dev/null && head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null && echo written"))

	// Standard files that lead to nothing are the sandbox's device, too.
	p, err := s.Exec(t.Context(), runtime.ExecSpec{
		Args:          []string{"sh", "-c", "chmod 600 /proc/self/fd/1 /proc/self/fd/2; touch -d @0 /proc/self/fd/1; echo x; echo y >&2"},
		DiscardStdout: true, DiscardStderr: true,
	})
	require.NoError(t, err)
	finish(t, p)
	assert.Equal(t, before, describe())
}

// The host takes files and directories from the file API, and waits for nothing
// else.
func TestFilesThatAreNone(t *testing.T) {
	s := start(t, newRuntime(t))
	sh(t, s, "mkfifo /tmp/pipe; ln -s /dev/zero /tmp/zero; ln -s pipe /tmp/link")
	for _, path := range []string{"/tmp/pipe", "/tmp/link", "/tmp/zero", "/dev/null", "/dev/tty", "/dev/ptmx", "/dev/pts/ptmx"} {
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY | os.O_CREATE | os.O_TRUNC, os.O_RDWR | os.O_APPEND} {
			_, err := s.Files().OpenFile(t.Context(), path, flag, 0o644)
			assert.Error(t, err, path)
		}
		_, err := s.Files().Stat(t.Context(), path)
		assert.NoError(t, err, path)
	}
	for _, path := range []string{"/proc/1/mem", "/proc/self/mem", "/proc/1/environ", "/proc/self/oom_score_adj", "/proc/thread-self/maps", "/proc/1"} {
		_, err := s.Files().OpenFile(t.Context(), path, os.O_RDONLY, 0)
		assert.Error(t, err, path)
	}
}

func TestTerminalWhateverIsInDev(t *testing.T) {
	s := start(t, newRuntime(t))
	sh(t, s, "rm /dev/ptmx; mkfifo /dev/ptmx")
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "tty; exit 3"}, PTY: &runtime.PTY{Rows: 10, Cols: 20}})
	require.NoError(t, err)
	got := finish(t, p)
	assert.Equal(t, "/dev/pts/0\r\n", got.stdout)
	assert.Equal(t, 3, got.status.Code)
}

func TestMountTableShowsNoPathOfTheHost(t *testing.T) {
	dir, err := stateDir()
	require.NoError(t, err)
	s := start(t, newRuntime(t))
	require.NoError(t, s.MountImage(t.Context(), "/mnt/image", hostImage(t, newRuntime(t)).ID))
	for _, file := range []string{"mountinfo", "mounts", "mountstats"} {
		table := sh(t, s, "cat /proc/self/"+file)
		assert.NotContains(t, table, dir, file)
		assert.NotContains(t, table, os.TempDir()+"/", file)
	}
}

// What the first process of a sandbox holds, as the host's root sees it.
func TestFirstProcessHoldsNothingOfTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root looks into a process that hides itself")
	}
	r := newRuntime(t)
	s := start(t, r, func(spec *runtime.Spec) { spec.Docker = true })
	ctx := t.Context()
	require.NoError(t, s.MountImage(ctx, "/mnt/image", hostImage(t, r).ID))
	put(t, s, "/tmp/file", "x", 0o644)
	_, err := s.SnapshotDir(ctx, "/tmp")
	require.NoError(t, err)
	_, err = s.Exec(ctx, runtime.ExecSpec{Args: []string{"sleep", "infinity"}, DiscardStdout: true, PTY: &runtime.PTY{Rows: 1, Cols: 1}})
	require.NoError(t, err)
	looked := 0
	for _, process := range firstProcesses(t) {
		mounts := mountsOf(t, process)
		tasks, err := filepath.Glob(process + "/task/*")
		require.NoError(t, err)
		for _, task := range tasks {
			for _, link := range []string{"root", "cwd"} {
				fd, err := os.Open(filepath.Join(task, link))
				require.NoError(t, err)
				assert.Contains(t, mounts, mountOf(t, fmt.Sprintf("/proc/self/fdinfo/%d", fd.Fd())), "%s of %s", link, task)
				require.NoError(t, fd.Close())
				looked++
			}
		}
		fds, err := filepath.Glob(process + "/fd/*")
		require.NoError(t, err)
		for _, fd := range fds {
			target, err := os.Readlink(fd)
			require.NoError(t, err)
			if !strings.HasPrefix(target, "/") {
				assert.Regexp(t, `^(socket|pipe|anon_inode|uts):`, target, fd)
				continue
			}
			assert.Contains(t, mounts, mountOf(t, process+"/fdinfo/"+filepath.Base(fd)), "%s is %s", fd, target)
			looked++
		}
	}
	assert.Greater(t, looked, 10)
}

// firstProcesses are those of this program's sandboxes, in /proc.
func firstProcesses(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(t, err)
	var found []string
	for _, path := range all {
		status, err := os.ReadFile(path)
		process := filepath.Dir(path)
		name, nameErr := os.ReadFile(process + "/cmdline")
		if err == nil && nameErr == nil && string(name) == "seer-sandbox\x00" &&
			strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			found = append(found, process)
		}
	}
	require.NotEmpty(t, found)
	return found
}

// mountsOf are the numbers of the mounts that a process has.
func mountsOf(t *testing.T, process string) []string {
	t.Helper()
	table, err := os.ReadFile(process + "/mountinfo")
	require.NoError(t, err)
	var ids []string
	for line := range strings.Lines(string(table)) {
		ids = append(ids, strings.Fields(line)[0])
	}
	return ids
}

// mountOf is the number of the mount that an open file is on.
func mountOf(t *testing.T, fdinfo string) string {
	t.Helper()
	info, err := os.ReadFile(fdinfo)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(info), "mnt_id:\t")
	require.True(t, found)
	id, _, _ := strings.Cut(rest, "\n")
	return id
}
