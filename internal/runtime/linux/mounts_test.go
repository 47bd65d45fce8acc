//go:build linux

package linux_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

const withMounts = "SEER_TEST_WITH_MOUNTS"

// A machine has file systems mounted below /usr: what lies between them is as
// on any machine. The test runs itself again where they are, in a mount
// namespace of its own.
func TestMountsBelowUsr(t *testing.T) {
	if os.Getenv(withMounts) == "" {
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestMountsBelowUsr$", "-test.v")
		cmd.Env = append(os.Environ(), withMounts+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestMountsBelowUsr")
		return
	}
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	require.NoError(t, unix.Mount("tmpfs", "/usr/local/lib", "tmpfs", 0, "mode=755"))
	require.NoError(t, os.WriteFile("/usr/local/lib/marker", []byte("as on the host"), 0o644))
	require.NoError(t, unix.Mount("/usr/lib/python3", "/usr/lib/python3", "", unix.MS_BIND, ""))
	require.NoError(t, unix.Mount("devpts", "/usr/local/src", "devpts", 0, "newinstance"))
	file, beside := twoFiles(t, "/usr/libexec", "/usr/sbin")
	whole, err := os.ReadFile(beside)
	require.NoError(t, err)
	require.NoError(t, unix.Mount("/etc/hosts", file, "", unix.MS_BIND, ""))

	r := newRuntimeIn(t, linux.Config{Dir: tempDir(t)})
	s := start(t, r)
	assert.Equal(t, "as on the host", sh(t, s, "cat /usr/local/lib/marker"))
	assert.Equal(t, "42\n", sh(t, s, "python3 -c 'print(6*7)'"))
	assert.Empty(t, sh(t, s, "ls /usr/local/src"), "what an overlay cannot lie on is left out")
	assert.Empty(t, sh(t, s, "ls "+file+" 2>/dev/null || true"), "so is a file that is a mount")
	assert.Equal(t, string(whole), sh(t, s, "cat "+beside))
	links, err := os.Readlink("/usr/lib/sftp-server")
	if err == nil {
		assert.Equal(t, links+"\n", sh(t, s, "readlink /usr/lib/sftp-server"))
	}
	places := []string{"/usr", "/usr/lib", "/usr/lib/python3", "/usr/bin", "/usr/local", "/usr/local/lib", "/usr/lib/new"}
	for _, dir := range places {
		sh(t, s, "mkdir -p "+dir+" && echo "+dir+" > "+dir+"/written && mv "+dir+"/written "+dir+"/kept")
	}
	sh(t, s, "rm /usr/local/lib/marker")
	img, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	again := start(t, r, func(spec *runtime.Spec) { spec.Image = img.ID })
	for _, dir := range places {
		assert.Equal(t, dir+"\n", sh(t, again, "cat "+dir+"/kept"))
	}
	assert.Empty(t, sh(t, again, "ls /usr/local/lib/marker 2>/dev/null || true"))
}

// twoFiles names two regular files of one of the directories that everybody may read.
func twoFiles(t *testing.T, dirs ...string) (one, other string) {
	t.Helper()
	var found []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && info.Size() < 1<<20 {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
		if len(found) > 1 {
			return found[0], found[1]
		}
		found = nil
	}
	require.FailNow(t, "no two files", "in any of %s", dirs)
	return "", ""
}

// A place that sandboxes see is refused before anything is made there.
func TestStoreAmongTheHostsFiles(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("/usr/share", link))
	for _, dir := range []string{"/usr/share/seer-test/deep/er", "/usr", link, filepath.Join(link, "seer-test")} {
		require.ErrorContains(t, linux.Probe(t.Context(), dir), "choose another", dir)
		_, err := linux.New(linux.Config{Dir: dir})
		require.ErrorContains(t, err, "choose another", dir)
	}
	assert.NoDirExists(t, "/usr/share/seer-test")
	assert.NoDirExists(t, "/usr/bases")
	assert.NoDirExists(t, "/usr/share/bases")
}
