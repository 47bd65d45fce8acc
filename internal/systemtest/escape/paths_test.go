//go:build linux

package escape_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// Paths that the owner names and that the agent has made lead elsewhere. The
// way is /proc/1/task/T/root and its like, which PID 1 and its children may
// follow where the agent may not.
var pathAttempts = []attempt{
	{name: "the directory of a command is a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string { return w.readIn(ctx, way) })
	}},
	{name: "the directory of a command is a link in a link", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, `mkdir -p /tmp/chain; for l in /tmp/way/*; do ln -sfn "$l" /tmp/chain/a; ln -sfn /tmp/chain/a /tmp/chain/${l##*/}; done; ln -sfn /tmp/way/1 /tmp/chain/a`)
		return w.eachWay(t, func(ctx context.Context, way string) string {
			return w.readIn(ctx, strings.Replace(way, "/tmp/way", "/tmp/chain", 1))
		})
	}},
	{name: "the directory of a command goes through PID 1 by name", owner: func(t *testing.T, w *world) string {
		for _, task := range strings.Fields(w.plant(t, w.agent, "ls /proc/1/task | sort -n | head -n 6")) {
			for _, end := range []string{"root", "cwd", "cwd/../../../../../.."} {
				if got := w.readIn(t.Context(), "/proc/1/task/"+task+"/"+end); got != "" {
					return got
				}
			}
		}
		return ""
	}},
	{name: "the directory of a command is that of whoever starts it", owner: func(t *testing.T, w *world) string {
		for _, dir := range []string{"/proc/self/root", "/proc/self/cwd", "/proc/thread-self/root", "/proc/thread-self/cwd", "/proc/self/cwd/../../../..", "../../../../../../..", "/workspace/../../../../..", "/proc/1/root", "/proc/1/cwd"} {
			if got := w.readIn(t.Context(), dir); got != "" {
				return got
			}
		}
		return ""
	}},
	{name: "the directory of a command is a descriptor that was left open", owner: func(t *testing.T, w *world) string {
		for n := range 12 {
			for _, dir := range []string{"/proc/self/fd/%d", "/proc/1/fd/%d/../../../../.."} {
				if got := w.readIn(t.Context(), fmt.Sprintf(dir, n)); got != "" {
					return got
				}
			}
		}
		return ""
	}},
	{name: "the directory of a command is exchanged while it is entered", owner: func(t *testing.T, w *world) string {
		stop := w.exchange(t)
		defer stop()
		for range 60 {
			if got := w.readIn(t.Context(), "/tmp/race/door"); got != "" {
				return got
			}
		}
		return ""
	}},
	{name: "the workspace of a session is a link", owner: func(t *testing.T, w *world) string {
		sandbox := w.start(t, seer.SandboxConfig{})
		session, err := seer.NewCLISession(t.Context(), sandbox, nil, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, session.Close(t.Context())) }()
		agent := connect(t, session)
		for _, task := range strings.Fields(w.plant(t, sandbox, "cd /; mv /workspace /old; ls /proc/1/task | sort -n | head -n 6")) {
			_, err := sandbox.Exec(t.Context(), "ln -sfn /proc/1/task/"+task+"/root /workspace")
			require.NoError(t, err)
			text, _ := session.Shell(t.Context(), "cat ."+w.secret)
			text += callTool(t, agent, "run_command", map[string]any{"command": "cat ." + w.secret})
			text += callTool(t, agent, "read_file", map[string]any{"path": "." + w.secret})
			if got := w.leaked(text); got != "" {
				return got + " was read in the workspace"
			}
			_ = session.Restart(t.Context())
			if result, _ := session.Exec(t.Context(), fmt.Sprintf("print(open('.%s').read())", w.secret)); result != nil && w.leaked(result.Text()) != "" {
				return "a new interpreter works in the host's root"
			}
		}
		return ""
	}},
	{name: "a file is read through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			data, _ := w.agent.ReadFile(ctx, way+w.secret)
			return w.leaked(string(data))
		})
	}},
	{name: "a file is read by its name as a file system", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			data, _ := fs.ReadFile(w.agent.FS(ctx), strings.TrimPrefix(way+w.secret, "/"))
			return w.leaked(string(data))
		})
	}},
	{name: "a directory is listed through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			entries, _ := fs.ReadDir(w.agent.FS(ctx), strings.TrimPrefix(way+w.dir, "/"))
			if len(entries) > 0 {
				return outf("it lists %v", entries)
			}
			return ""
		})
	}},
	{name: "a file is written through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			_ = w.agent.WriteFile(ctx, way+w.target, []byte("changed"))
			return w.changed()
		})
	}},
	{name: "a file is written to a link of its own name", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, fmt.Sprintf("mkdir -p /tmp/named; for t in $(ls /proc/1/task); do ln -sfn /proc/1/task/$t/root%s /tmp/named/$t; done", w.target))
		for _, task := range strings.Fields(w.plant(t, w.agent, "ls /proc/1/task | sort -n | head -n 6")) {
			_ = w.agent.WriteFile(t.Context(), "/tmp/named/"+task, []byte("changed"))
		}
		return w.changed()
	}},
	{name: "a directory is made through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			_ = w.agent.EnsureDir(ctx, way+w.dir+"/made/deep")
			return w.changed()
		})
	}},
	{name: "a tree is uploaded through a link", owner: func(t *testing.T, w *world) string {
		from := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(from, "target.txt"), []byte("changed"), 0o644))
		return w.eachWay(t, func(ctx context.Context, way string) string {
			_ = w.agent.Upload(ctx, from, way+w.dir)
			return w.changed()
		})
	}},
	{name: "a tree is downloaded through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			to := t.TempDir()
			_ = w.agent.Download(ctx, way+w.dir, to)
			return w.leakedIn(to)
		})
	}},
	{name: "a directory is saved through a link", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string { return w.saved(ctx, t, way+w.dir) })
	}},
	{name: "a directory of which a parent is a link is saved", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, fmt.Sprintf("mkdir -p /tmp/parent; for l in /tmp/way/*; do ln -sfn $l%s /tmp/parent/${l##*/}; done", filepath.Dir(w.dir)))
		return w.eachWay(t, func(ctx context.Context, way string) string {
			return w.saved(ctx, t, strings.Replace(way, "/tmp/way", "/tmp/parent", 1)+"/"+filepath.Base(w.dir))
		})
	}},
	{name: "a directory is saved by a name that goes through PID 1", owner: func(t *testing.T, w *world) string {
		for _, task := range strings.Fields(w.plant(t, w.agent, "ls /proc/1/task | sort -n | head -n 6")) {
			if got := w.saved(t.Context(), t, "/proc/1/task/"+task+"/root"+w.dir); got != "" {
				return got
			}
		}
		return w.saved(t.Context(), t, "/proc/self/root"+w.dir)
	}},
	{name: "a directory is exchanged while it is saved", owner: func(t *testing.T, w *world) string {
		stop := w.exchange(t)
		defer stop()
		for range 20 {
			if got := w.saved(t.Context(), t, "/tmp/race/door"+w.dir); got != "" {
				return got
			}
		}
		return ""
	}},
	{name: "a saved tree has links in it", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, `rm -rf /tmp/tree; mkdir -p /tmp/tree; for l in /tmp/way/*; do ln -s "$(readlink $l)`+w.dir+`" /tmp/tree/${l##*/}; done`)
		return w.saved(t.Context(), t, "/tmp/tree")
	}},
	{name: "a directory is shown through a link", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, "mkdir -p /tmp/plain; echo changed >/tmp/plain/target.txt")
		snapshot, err := w.agent.SnapshotDir(t.Context(), "/tmp/plain", "plain")
		require.NoError(t, err)
		return w.eachWay(t, func(ctx context.Context, way string) string {
			_ = w.agent.RestoreDir(ctx, snapshot, way+w.dir+"/shown")
			_ = w.agent.RestoreDir(ctx, snapshot, way+w.dir)
			return w.changed()
		})
	}},
	{name: "the place of a directory is exchanged while it is shown", owner: func(t *testing.T, w *world) string {
		w.plant(t, w.agent, "mkdir -p /tmp/plain; echo changed >/tmp/plain/target.txt")
		snapshot, err := w.agent.SnapshotDir(t.Context(), "/tmp/plain", "plain")
		require.NoError(t, err)
		stop := w.exchange(t)
		defer stop()
		for range 20 {
			_ = w.agent.RestoreDir(t.Context(), snapshot, "/tmp/race/door"+w.dir+"/shown")
		}
		return w.changed()
	}},
	{name: "the shell of every command is a link", owner: func(t *testing.T, w *world) string {
		return w.shells(t, func(way string) string { return "ln -sfn " + way + w.echo + " /opt/python/bin/sh" })
	}},
	{name: "the shell of every command is in a directory that is a link", owner: func(t *testing.T, w *world) string {
		return w.shells(t, func(way string) string {
			return "mkdir -p /tmp/bin; mv /opt/python/bin/* /tmp/bin/; rmdir /opt/python/bin; ln -sfn " + way + filepath.Dir(w.echo) + " /opt/python/bin"
		})
	}},
	{name: "the interpreter of the shell is a link", owner: func(t *testing.T, w *world) string {
		return w.shells(t, func(way string) string {
			return "printf '#!" + way + w.echo + "\n' >/opt/python/bin/sh; chmod 755 /opt/python/bin/sh"
		})
	}},
	{name: "a program is found through a link in PATH", owner: func(t *testing.T, w *world) string {
		return w.eachWay(t, func(ctx context.Context, way string) string {
			cmd := w.agent.Command("sh", "SEER_EXEC=")
			cmd.Env = []string{"PATH=" + way + filepath.Dir(w.echo)}
			text, _ := cmd.CombinedOutput(ctx)
			if string(text) == "SEER_EXEC=\n" {
				return "a program of the host ran"
			}
			return ""
		})
	}},
	{name: "the owner's program is the interpreter", owner: overwriteProgram},
}

// restoreAttempts are links that lead elsewhere as the next sandbox begins.
var restoreAttempts = []attempt{
	{name: "a snapshot whose directories are links is restored", owner: func(t *testing.T, w *world) string {
		return w.restored(t, `rm -rf /workspace /mnt /run/seer; for d in /workspace /mnt /run/seer; do ln -s /proc/1/task/%[1]s/root`+w.dir+` $d; done; mv /etc /etc.old; ln -s /proc/1/task/%[1]s/root`+w.dir+` /etc`)
	}},
	{name: "a snapshot whose names of hosts are links is restored", owner: func(t *testing.T, w *world) string {
		return w.restored(t, `for f in hosts hostname resolv.conf; do rm -f /etc/$f; ln -s /proc/1/task/%s/root`+w.target+` /etc/$f; done`)
	}},
}

// ways are links inside that may lead out. What would keep the host's root is
// among the first threads that begin.
func (w *world) ways(t *testing.T) []string {
	t.Helper()
	return strings.Fields(w.plant(t, w.agent, `mkdir -p /tmp/way
for t in $(ls /proc/1/task | sort -n | head -n 6); do ln -sfn /proc/1/task/$t/root /tmp/way/$t; done
ln -sfn /proc/self/root /tmp/way/self; ln -sfn /proc/1/root /tmp/way/one
ls -d /tmp/way/*`))
}

// eachWay tries every way until one leads out.
func (w *world) eachWay(t *testing.T, try func(ctx context.Context, way string) string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	for _, way := range w.ways(t) {
		if got := try(ctx, way); got != "" {
			return outf("%s by %s", got, way)
		}
	}
	return ""
}

// readIn runs a command in a directory and looks for the owner's secret from there.
func (w *world) readIn(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := w.agent.Command("sh", "-c", `cat ."$1"; ls -d ."$2"/*`, "sh", w.secret, w.dir)
	cmd.Dir = dir
	text, _ := cmd.Output(ctx)
	if got := w.leaked(string(text)); got != "" {
		return got + " was read in the directory " + dir
	}
	if strings.Contains(string(text), "secret.txt") {
		return "the owner's directory was listed"
	}
	return ""
}

// saved saves a directory, shows it again and looks for markers there.
func (w *world) saved(ctx context.Context, t *testing.T, dir string) string {
	t.Helper()
	snapshot, err := w.agent.SnapshotDir(ctx, dir, "a directory")
	if err != nil {
		return ""
	}
	if err := w.agent.RestoreDir(ctx, snapshot, "/tmp/again"); err != nil {
		return ""
	}
	text, _ := w.agent.Exec(ctx, "cat /tmp/again/* /tmp/again/*/*; ls -R /tmp/again")
	if got := w.leaked(text); got != "" {
		return got + " was saved"
	}
	if strings.Contains(text, "secret.txt") {
		return "the owner's directory was saved"
	}
	return ""
}

// shells has an agent make every way the shell that the owner's commands are
// started with, by the command that plan returns, and looks for what the host's
// program says then.
func (w *world) shells(t *testing.T, plan func(way string) string) string {
	t.Helper()
	sandbox := w.start(t, seer.SandboxConfig{})
	for _, task := range strings.Fields(w.plant(t, sandbox, "ls /proc/1/task | sort -n | head -n 6")) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if text, err := sandbox.Command("/bin/sh", "-c", plan("/proc/1/task/"+task+"/root")).CombinedOutput(ctx); err != nil {
			t.Log(err, string(text))
		}
		text, _ := sandbox.Command("true").CombinedOutput(ctx)
		if strings.Contains(string(text), "SEER_EXEC=") {
			return "a program of the host ran"
		}
	}
	return ""
}

// leakedIn looks for markers in a directory of the owner's.
func (w *world) leakedIn(dir string) (got string) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			data, _ := os.ReadFile(path)
			if found := w.leaked(string(data)); found != "" {
				got = found + " was downloaded"
			}
		}
		return nil
	})
	return got
}

// exchange has the agent exchange /tmp/race/door, a directory, for links that
// may lead out, until stop is called.
func (w *world) exchange(t *testing.T) (stop func()) {
	t.Helper()
	w.ways(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := w.agent.Command("python", "-c", `
import ctypes, glob, os
import shutil
libc = ctypes.CDLL(None)
shutil.rmtree("/tmp/race", True)
os.makedirs("/tmp/race/door")
print("ready", flush=True)
ways = sorted(glob.glob("/tmp/way/*"))
while True:
    for way in ways:
        try: os.unlink("/tmp/race/link")
        except OSError: pass
        os.symlink(os.readlink(way), "/tmp/race/link")
        for _ in range(200):
            libc.renameat2(-100, b"/tmp/race/door", -100, b"/tmp/race/link", 2)
        if os.path.islink("/tmp/race/door"): libc.renameat2(-100, b"/tmp/race/door", -100, b"/tmp/race/link", 2)
`)
	ready := &awaited{word: "ready", seen: make(chan struct{})}
	cmd.Stdout = ready
	require.NoError(t, cmd.Start(ctx))
	ready.wait(t)
	return func() {
		cancel()
		_ = cmd.Wait()
	}
}

// restored saves a sandbox in which each thread that PID 1 may have next time
// is the way of a plan, a format, and starts another on it.
func (w *world) restored(t *testing.T, plan string) string {
	t.Helper()
	for _, task := range strings.Fields(w.plant(t, w.agent, "ls /proc/1/task | sort -n | head -n 6"))[1:] {
		sandbox := w.start(t, seer.SandboxConfig{})
		if _, err := sandbox.Exec(t.Context(), fmt.Sprintf(plan, task)); err != nil {
			t.Log(err)
		}
		snapshot, err := sandbox.Snapshot(t.Context(), "a trap")
		require.NoError(t, err)
		again, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, seer.WithBackend(w.server.Backend()))
		if err == nil {
			text, _ := again.Exec(t.Context(), "cat /workspace/secret.txt /mnt/secret.txt ."+w.secret)
			w.end(t, again)
			if got := w.leaked(text); got != "" {
				return got
			}
		}
		if got := w.changed(); got != "" {
			return got
		}
	}
	return ""
}
