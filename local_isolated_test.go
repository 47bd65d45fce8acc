package seer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// startIsolated starts a session of an agent that nobody trusts.
func startIsolated(t *testing.T, workspace *seer.Workspace, opts seer.LocalOptions) (session *seer.LocalSession, dir string) {
	t.Helper()
	dir, opts.Isolated = t.TempDir(), true
	session, err := seer.NewLocalSession(t.Context(), workspace, dir, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(context.WithoutCancel(t.Context()))) })
	return session, dir
}

func TestIsolatedSession(t *testing.T) {
	t.Parallel()
	source := write(t, map[string]string{
		"data/a.txt": "a", "note.txt": "note",
		"my-skill/SKILL.md": "---\nname: my-skill\ndescription: Mine.\n---\n\nText.\n",
	})
	session, dir := startIsolated(t, workspaceOf(source), seer.LocalOptions{Env: map[string]string{"GIVEN": "given"}})
	assert.Equal(t, "/workspace", session.WorkspacePath())
	assert.Equal(t, "(3, 'a')", textOf(t, session, "answer"), "the whole workspace is there")
	assert.Equal(t, "'given'", textOf(t, session, "import os; os.environ['GIVEN']"))

	textOf(t, session, "open('made.txt', 'w').write(os.getcwd())")
	data, err := os.ReadFile(filepath.Join(dir, "made.txt"))
	require.NoError(t, err)
	assert.Equal(t, "/workspace", string(data), "files are the directory's own")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "from-outside.txt"), []byte("x"), 0o600))
	assert.Equal(t, "'x'", textOf(t, session, "open('/workspace/from-outside.txt').read()"))

	_, err = session.Exec(within(t, patience), "import signal; os.kill(os.getpid(), signal.SIGKILL)")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	require.NoError(t, session.Restart(t.Context()))
	assert.Equal(t, "(3, 'a')", textOf(t, session, "answer"))

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = session.Exec(ctx, "import time; time.sleep(600)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, seer.ErrKernelDied, "it was interrupted")

	textOf(t, session, "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
	require.NoError(t, session.Close(t.Context()))
	require.NoError(t, session.Close(t.Context()), "again is fine")
}

// What one session left where the next one puts its packages leads nowhere.
func TestIsolatedSessionAgain(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(dir, elsewhere string) error{
		"directory": func(dir, elsewhere string) error { return os.Symlink(elsewhere, filepath.Join(dir, ".seer")) },
		"packages": func(dir, elsewhere string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".seer"), 0o755), os.Symlink(elsewhere, filepath.Join(dir, ".seer", "lib")))
		},
		"file": func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, ".seer"), nil, 0o600) },
	} {
		dir, elsewhere := t.TempDir(), t.TempDir()
		require.NoError(t, leave(dir, elsewhere))
		session, err := seer.NewLocalSession(t.Context(), nil, dir, &seer.LocalOptions{Isolated: true})
		require.NoError(t, err, name)
		require.NoError(t, session.Close(t.Context()))
		assert.DirExists(t, filepath.Join(dir, ".seer", "lib"))
		left, err := os.ReadDir(elsewhere)
		require.NoError(t, err)
		assert.Empty(t, left, name)
	}
}

func TestIsolatedSessionSeesNothingOfThisMachine(t *testing.T) {
	t.Setenv("SEER_TEST_MARKER", "host-secret")
	outside := filepath.Join(t.TempDir(), "secret.txt")
	require.NoError(t, os.WriteFile(outside, []byte("host-secret"), 0o644))
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	here, err := os.Getwd()
	require.NoError(t, err)

	session, dir := startIsolated(t, nil, seer.LocalOptions{})
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link.txt")))
	text := textOf(t, session, fmt.Sprintf(`
import glob, os, socket
def missing(path):
    try:
        found = os.path.isdir(path) and os.listdir(path) or open(path).read()
    except OSError:
        return
    assert not found, (path, found)

for path in (%q, %q, "link.txt", "/workspace/../secret.txt"):
    missing(path)
for name in os.listdir(%q) if os.path.isdir(%q) else []:
    assert name.startswith("."), name  # of the interpreter's own home
assert not [v for v in os.environ.values() if "host-secret" in v], os.environ
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        assert b"host-secret" not in open(path, "rb").read(), path
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        pass

def refused(host, port):
    try:
        socket.create_connection((host, port), timeout=10)
    except OSError:
        return
    raise AssertionError((host, port))

for host in ("127.0.0.1", "host.seer.internal", "192.168.127.1"):
    refused(host, %s)
for host, port in (("1.1.1.1", 443), ("169.254.169.254", 80), ("10.0.0.1", 80), ("192.168.127.1", 53), ("example.com", 80)):
    refused(host, port)
print("nothing")`, outside, here, home, home, portOf(t, listener.Addr().String())))
	assert.Equal(t, "nothing\n", text)
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}

func TestIsolatedSessionErrors(t *testing.T) {
	t.Parallel()
	_, err := seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{Isolated: true, Python: "no-such-python"})
	require.ErrorContains(t, err, "no-such-python")
	_, err = seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{Isolated: true, Python: "false"})
	require.ErrorIs(t, err, seer.ErrKernelDied)
	_, err = seer.NewLocalSession(t.Context(), &seer.Workspace{Libraries: []seer.Library{{
		Name: "sys", Files: map[string]string{"__init__.py": ""},
	}}}, t.TempDir(), &seer.LocalOptions{Isolated: true})
	require.ErrorContains(t, err, "another one", "a name that Python has already")
}

// TestIsolatedNeedsLocal: a program without the local package is told so.
func TestIsolatedNeedsLocal(t *testing.T) {
	out, err := goCommand(t, "run", "./testdata/noisolation", t.TempDir()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, `start local session: invalid config: Isolated = true: needs the local backend, on Linux: import _ "github.com/ajobi-uhc/seer-go/local"`,
		strings.TrimSpace(string(out)))
}

// A workspace directory that an agent has had leads the next session nowhere.
func TestALinkInTheWorkspaceIsNotFollowed(t *testing.T) {
	elsewhere := t.TempDir()
	for _, link := range []string{".seer", ".seer/lib"} {
		workspace := t.TempDir()
		if filepath.Dir(link) != "." {
			require.NoError(t, os.Mkdir(filepath.Join(workspace, filepath.Dir(link)), 0o755))
		}
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(workspace, link)))
		session, err := seer.NewLocalSession(t.Context(), &seer.Workspace{
			Libraries: []seer.Library{{Name: "tools", Files: map[string]string{"__init__.py": "answer = 42"}}},
		}, workspace, nil)
		require.NoError(t, err, link)
		result, err := session.Exec(t.Context(), "import tools; print(tools.answer)")
		require.NoError(t, err)
		assert.Equal(t, "42\n", result.Text())
		require.NoError(t, session.Close(t.Context()))
		left, err := os.ReadDir(elsewhere)
		require.NoError(t, err)
		assert.Empty(t, left, link)
	}
}
