//go:build linux

package escape_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	seer "github.com/ajobi-uhc/seer-go"
)

// awaited is an output of which a word is awaited.
type awaited struct {
	word string
	seen chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
}

func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Write(p)
	if strings.Contains(a.text.String(), a.word) {
		a.once.Do(func() { close(a.seen) })
	}
	return len(p), nil
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

func (a *awaited) wait(t *testing.T) {
	t.Helper()
	select {
	case <-a.seen:
	case <-time.After(attemptLimit):
		t.Fatalf("the agent never said %q: %s", a.word, a)
	}
}

// hold runs an attempt's code until its owner has done something meanwhile. The
// code calls ready() when it has what it wants, and keeps it.
func (w *world) hold(t *testing.T, sandbox *seer.Sandbox, code string, meanwhile func(ctx context.Context) string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	cmd := sandbox.Command("python", "-c", agentPy, w.facts, "def ready():\n    print('ready', flush=True)\n    sys.stdin.read()\n"+code)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = read.Close() }()
	output := &awaited{word: "ready", seen: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, output, output
	require.NoError(t, cmd.Start(ctx))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var got string
	select {
	case <-output.seen:
		got = meanwhile(ctx)
	case err := <-ended: // it was stopped before it had what it wants
		_ = write.Close()
		return w.verdict(t, output.String(), err)
	}
	_ = write.Close()
	err = <-ended
	if got == "" {
		got = w.verdict(t, output.String(), err)
	}
	return got
}

// watchBeginnings has an agent look at every process of the sandbox in the
// moment in which it begins, when it is still what started it.
func watchBeginnings(t *testing.T, w *world) string {
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	cmd := w.agent.Command("python", "-c", agentPy, w.facts, `
print("watching", flush=True)
known = {os.getpid(), os.getppid()}
end = time.monotonic() + 2
while time.monotonic() < end:
    for number in range(max(known), max(known) + 12):
        def look(n):
            base = f"/proc/{n}/"
            if is_host(base + "root"): out(base + "root")
            each([base + "root" + W["secret"], base + "environ"], show)
            exe = os.readlink(base + "exe")
            if "escape" in exe or exe == W["exe"] or exe.startswith("/memfd"): out(base + "exe -> " + exe)
            for name in os.listdir(base + "fd"):
                target = os.readlink(base + "fd/" + name)
                if any(word and word in target for word in (W["home"], W["here"])): out(f"{base}fd/{name} -> {target}")
        each([number], look)
        if os.path.exists(f"/proc/{number}"): known.add(number)
`)
	output := &awaited{word: "watching", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start(ctx))
	output.wait(t)
	for range 40 {
		_, _ = w.agent.Exec(ctx, "true")
	}
	err := cmd.Wait()
	return w.verdict(t, output.String(), err)
}

// redirectInSnapshot leaves what an overlay takes for directions in a snapshot.
func redirectInSnapshot(t *testing.T, w *world) string {
	w.plant(t, w.agent, `python - <<'PY'
import os
for place in ("/srv/a", "/opt/b", "/etc/c"):
    os.makedirs(place, exist_ok=True)
    for name in ("user.overlay.redirect", "user.overlay.overlay.redirect", "user.overlay.metacopy", "user.overlay.overlay.opaque"):
        try: os.setxattr(place, name, b"/../../../../../../../.." if "redirect" in name else b"y")
        except OSError as error: print(name, error)
PY`)
	snapshot, err := w.agent.Snapshot(t.Context(), "directions")
	require.NoError(t, err)
	again, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, seer.WithBackend(w.server.Backend()))
	if err != nil {
		return ""
	}
	defer w.end(t, again)
	text, _ := again.Exec(t.Context(), "for p in /srv/a /opt/b /etc/c; do cat $p"+w.secret+"; ls -A $p $p/../..; done")
	if strings.Contains(text, "layers") && strings.Contains(text, "sandboxes") {
		return "the host's layers are listed"
	}
	return w.leaked(text)
}

// overwriteProgram has the interpreter of the shell that the owner's commands
// are started with be the owner's own program, which another process of the
// sandbox then opens.
func overwriteProgram(t *testing.T, w *world) string {
	sandbox := w.start(t, seer.SandboxConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	thief := sandbox.Command("python", "-c", agentPy, w.facts, `
with open("/opt/python/bin/sh", "w") as file: file.write("#!/proc/self/exe\n")
os.chmod("/opt/python/bin/sh", 0o755)
print("planted", flush=True)
def open_it(p):
    target = os.readlink(p)
    if target != W["exe"] and ".test" not in target and not target.startswith("/memfd"): return
    def change(flags):
        number = os.open(p, flags)
        os.chmod(f"/proc/self/fd/{number}", 0o4777)
        out(p + " is changed")
    each([os.O_RDONLY, os.O_PATH], change)
    each([os.O_RDWR], lambda f: out(p + " is open to write") if os.open(p, f) else None)
end = time.monotonic() + 3
while time.monotonic() < end:
    each(glob.glob("/proc/[0-9]*/exe"), open_it)
`)
	output := &awaited{word: "planted", seen: make(chan struct{})}
	thief.Stdout, thief.Stderr = output, output
	require.NoError(t, thief.Start(ctx))
	output.wait(t)
	victim := sandbox.Command("true")
	victim.Stdin = strings.NewReader("")
	started := victim.Start(ctx) == nil
	err := thief.Wait()
	if started {
		cancel()
		_ = victim.Wait()
	}
	return w.verdict(t, output.String(), err)
}

// isolated starts a session of an agent in a directory of the owner's.
func (w *world) isolated(t *testing.T) (*seer.LocalSession, string) {
	t.Helper()
	dir := t.TempDir()
	session, err := seer.NewLocalSession(t.Context(), nil, dir, &seer.LocalOptions{Isolated: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(context.Background())) })
	return session, dir
}

func setuidInWorkspace(t *testing.T, w *world) string {
	session, dir := w.isolated(t)
	result, err := session.Exec(t.Context(), `
import os, shutil, stat
def attempt(f):
    try: f()
    except OSError as e: print(e)
shutil.copy("/usr/bin/id", "one")
for mode in (0o4755, 0o6755, 0o2755): attempt(lambda: os.chmod("one", mode))
attempt(lambda: os.fchmod(os.open("one", os.O_RDWR), 0o4755))
attempt(lambda: os.close(os.open("two", os.O_CREAT | os.O_WRONLY, 0o4755)))
attempt(lambda: os.mknod("three", 0o4755 | stat.S_IFREG))
attempt(lambda: os.mknod("four", 0o666 | stat.S_IFCHR, os.makedev(1, 11)))
attempt(lambda: os.mkdir("five", 0o2777)); attempt(lambda: os.chmod("five", 0o6777))
import ctypes
libc = ctypes.CDLL(None)
libc.syscall(ctypes.c_long(452), -100, b"one", 0o4755, 0)
attempt(lambda: os.rename("one", "six"))
attempt(lambda: shutil.copy("/usr/bin/id", "one")); attempt(lambda: os.chmod("one", 0o4755))
`)
	require.NoError(t, err)
	t.Log(result.Text())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		stat, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		if info.Mode()&(os.ModeDevice|os.ModeCharDevice) != 0 {
			return outf("%s is a device", entry.Name())
		}
		// Of a file that belongs to nobody else than its reader it gives nothing away.
		if info.Mode().IsRegular() && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 && int(stat.Uid) == os.Getuid() {
			return outf("%s is %v of user %d", entry.Name(), info.Mode(), stat.Uid)
		}
	}
	return ""
}

func capableInWorkspace(t *testing.T, w *world) string {
	session, dir := w.isolated(t)
	result, err := session.Exec(t.Context(), `
import ctypes, os, shutil, struct
libc = ctypes.CDLL(None)
def attempt(f):
    try: f()
    except OSError as e: print(e)
two = struct.pack("<IIIII", 0x02000001, 0xffffffff, 0, 0xffffffff, 0)
three = struct.pack("<IIIIII", 0x03000001, 0xffffffff, 0, 0xffffffff, 0, 0)
for name in ("one", "two"):
    shutil.copy("/usr/bin/id", name)
    for value in (two, three): attempt(lambda: os.setxattr(name, "security.capability", value))
if os.fork() == 0:
    uid = os.getuid()
    if libc.unshare(0x10000000) == 0:
        attempt(lambda: open("/proc/self/setgroups", "w").write("deny"))
        attempt(lambda: open("/proc/self/uid_map", "w").write(f"0 {uid} 1"))
        for value in (two, three): attempt(lambda: os.setxattr("two", "security.capability", value))
    os._exit(0)
os.wait()
`)
	require.NoError(t, err)
	t.Log(result.Text())
	for _, name := range []string{"one", "two"} {
		value := make([]byte, 64)
		n, err := unix.Getxattr(filepath.Join(dir, name), "security.capability", value)
		if err != nil || n < 4 {
			continue
		}
		// Version 3 holds only in the namespace whose root it names; root is 0.
		if version := value[3]; version == 2 || n >= 24 && bytes.Equal(value[20:24], make([]byte, 4)) {
			return outf("%s has capabilities of version %d on the host", name, version)
		}
		t.Logf("%x", value[:n])
	}
	return ""
}

// linksInWorkspace has the owner read and write files of an isolated session,
// by the tools that it serves, where the agent has put links.
func linksInWorkspace(t *testing.T, w *world) string {
	session, dir := w.isolated(t)
	_, err := session.Exec(t.Context(), fmt.Sprintf(`
import os
os.symlink(%q, "secret"); os.symlink(%q, "target"); os.symlink(%q, "dir"); os.symlink("../../../../../../..", "up")
`, w.secret, w.target, w.dir))
	require.NoError(t, err)
	agent := connect(t, session)
	text := ""
	for _, path := range []string{"secret", "dir/secret.txt", "up" + w.secret, "../secret", w.secret, dir + "/secret", dir + "/../" + filepath.Base(w.dir) + "/secret.txt"} {
		text += callTool(t, agent, "read_file", map[string]any{"path": path})
	}
	for _, path := range []string{"target", "dir/target.txt", "dir/new", "up" + w.target} {
		text += callTool(t, agent, "write_file", map[string]any{"path": path, "content": "changed"})
	}
	for _, path := range []string{"dir", "up", "up" + w.dir, "..", "/"} {
		text += callTool(t, agent, "list_files", map[string]any{"path": path})
	}
	if got := w.leaked(text); got != "" {
		return got
	}
	if strings.Contains(text, "secret.txt") && strings.Contains(text, `"size"`) {
		return "the owner's directory is listed: " + text
	}
	return w.changed()
}
