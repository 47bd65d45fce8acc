//go:build linux

package linux_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

// Root inside looks for what the host's user has: in files, in the environment
// and memory of the program, in its executable's directory.
func TestRootInsideFindsNothingOfTheHost(t *testing.T) {
	marker := "marker-" + rand.Text()
	home, work := tempDir(t), tempDir(t)
	t.Setenv("HOME", home)
	t.Setenv("SEER_TEST_SECRET", marker)
	t.Chdir(work)
	for _, dir := range []string{home, work} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(marker), 0o644))
	}
	if os.Geteuid() == 0 {
		for _, path := range []string{"/etc/seer-test-secret", "/usr/local/share/seer-test-secret"} {
			require.NoError(t, os.WriteFile(path, []byte(marker), 0o600))
			t.Cleanup(func() { assert.NoError(t, os.Remove(path)) })
		}
	}
	// Descriptors that the program has inherited, as a shell passes them on.
	secret, err := os.Open(filepath.Join(home, "secret"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, secret.Close()) })
	inheritable(t, secret)

	// The base is made while the files are there.
	r := newRuntimeIn(t, linux.Config{Dir: tempDir(t)})
	s := start(t, r)
	put(t, s, "/tmp/pattern", "marker-", 0o600)

	if os.Geteuid() == 0 {
		assert.NotContains(t, openFiles(t), home, "the first process has closed what it inherited")
	}
	for _, file := range []string{"exe", "environ", "mem", "maps", "fd/0", "fd/3", "root", "cwd", "task/1/environ"} {
		got := run(t, s, "head", "-c", "1", "/proc/1/"+file)
		assert.NotZero(t, got.status.Code, file)
		assert.Empty(t, got.stdout, file)
	}
	assert.Equal(t, "seer-sandbox\x00", sh(t, s, "cat /proc/1/cmdline"))
	// The marker is put together inside, so that no process there has it in
	// its arguments.
	found := run(t, s, "sh", "-c", `
		grep -rlsaI -D skip --exclude-dir=proc --exclude-dir=sys "$(cat /tmp/pattern)`+strings.TrimPrefix(marker, "marker-")+`" \
			/etc /var /root /home /tmp /run /opt /srv /mnt /media /boot /dev/shm /usr/local
		grep -lsa "$(cat /tmp/pattern)`+strings.TrimPrefix(marker, "marker-")+`" /proc/*/environ /proc/1/*`)
	assert.Empty(t, found.stdout)

	assert.Equal(t, "", sh(t, s, "ls /home /root /opt /srv /mnt /media | grep -v : | grep . || true"))
	assert.NotZero(t, run(t, s, "test", "-e", work).status.Code)
	assert.NotContains(t, sh(t, s, "cat /etc/passwd"), os.Getenv("LOGNAME")+":x:1000")
	assert.Equal(t, "", sh(t, s, "cut -d: -f2 /etc/shadow | grep -v '^[*]$' || true"), "no password")
	assert.Equal(t, "", sh(t, s, "find / -xdev -type s 2>/dev/null"), "no socket")
}

func TestWhatRootPutsThereLater(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the kernel hides root's files from an unprivileged user")
	}
	start(t, newRuntime(t)) // there is a base
	late := filepath.Join("/usr/local/share", "seer-test-"+rand.Text())
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(late)) })
	for name, mode := range map[string]os.FileMode{"public": 0o644, "secret": 0o600, "open/secret": 0o600, "closed/public": 0o644} {
		path := filepath.Join(late, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(name), mode))
	}
	require.NoError(t, os.Chmod(filepath.Join(late, "closed"), 0o700))

	s := start(t, newRuntime(t))
	assert.Equal(t, late+"/public\n", sh(t, s, "find "+late+" -type f"))
	assert.Equal(t, "closed\nopen\npublic\n", sh(t, s, "ls "+late))
	assert.Equal(t, "755 root\n", sh(t, s, "stat -c '%a %U' /usr/local/share"))
}

// openFiles lists what the first processes of this program's sandboxes hold.
func openFiles(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var open []string
	for _, path := range all {
		if b, err := os.ReadFile(path); err != nil || string(b) != "seer-sandbox\x00" {
			continue
		}
		fds, err := filepath.Glob(filepath.Dir(path) + "/fd/*")
		require.NoError(t, err)
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil {
				open = append(open, target)
			}
		}
	}
	require.NotEmpty(t, open)
	return strings.Join(open, "\n")
}

func TestRootInsideIsNotRootOutside(t *testing.T) {
	s := start(t, newRuntime(t))
	for name, script := range map[string]string{
		"core_pattern": "echo x > /proc/sys/kernel/core_pattern",
		"sysrq":        "echo x > /proc/sysrq-trigger",
		"kcore":        "test -s /proc/kcore && head -c 1 /proc/kcore | grep -q .",
		"mount":        "mount -t tmpfs none /mnt",
		"remount":      "mount -o remount,rw /proc/sys",
		"mknod":        "mknod /tmp/disk b 8 0",
		"hostname":     "hostname other",
		"kill init":    "kill -9 1 && sleep 0.1 && kill -9 1 && test ! -d /proc/1",
		"trace":        "head -c 1 /proc/1/mem",
		"clock":        "date -s @0",
		"modules":      "modprobe dummy",
	} {
		assert.NotZero(t, run(t, s, "sh", "-c", script).status.Code, name)
	}
	assert.Equal(t, "1\n", sh(t, s, "ls -d /proc/[0-9]* | grep -cx /proc/1"))
	assert.Less(t, len(strings.Fields(sh(t, s, "ls -d /proc/[0-9]*"))), 8, "its own processes alone")
}

func TestOtherUsersOfTheHostDoNotLookIn(t *testing.T) {
	dir := tempDir(t)
	newRuntimeIn(t, linux.Config{Dir: dir})
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, e.Name())
	}
}

func TestSandboxesDoNotSeeEachOther(t *testing.T) {
	r := newRuntime(t)
	one, two := start(t, r), start(t, r)
	sh(t, one, "echo secret > /tmp/file; echo secret > /usr/share/seer-file; echo secret > /dev/shm/file")
	for _, path := range []string{"/tmp/file", "/usr/share/seer-file", "/dev/shm/file"} {
		assert.NotZero(t, run(t, two, "test", "-e", path).status.Code, path)
		assert.NoFileExists(t, path)
	}
}

func TestPackagedFilesAreThere(t *testing.T) {
	s := start(t, newRuntime(t))
	for _, path := range []string{"/etc/passwd", "/etc/ssl", "/bin/sh", "/usr/bin/env", "/tmp", "/var/tmp", "/dev/null", "/dev/ptmx"} {
		assert.Zero(t, run(t, s, "test", "-e", path).status.Code, path)
	}
	assert.Equal(t, "1777 root\n1777 root\n700 root\n", sh(t, s, "stat -c '%a %U' /tmp /dev/shm /root"))
	assert.Equal(t, runtime.ExitStatus{}, run(t, s, "sh", "-c", "echo x > /usr/bin/new && rm -r /usr/share/doc && mkdir /workspace").status)
}
