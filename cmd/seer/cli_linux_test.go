package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// up starts a sandbox with the command and returns its ID.
func up(t *testing.T, server *served) string {
	t.Helper()
	return upWith(t, server, "testdata/config.yaml")
}

func upWith(t *testing.T, server *served, config string) string {
	t.Helper()
	r := invoke(t, server.env, "up", "-f", config)
	require.Zero(t, r.code, r.stderr)
	id, ports, found := strings.Cut(r.stdout, "\n")
	require.True(t, found)
	assert.Regexp(t, `^sb-[0-9A-Za-z]{22}$`, id)
	assert.Regexp(t, `(?m)^port 9000\thttp://127(\.\d+){3}:\d+$`, ports)
	assert.Contains(t, r.stderr, "create sandbox")
	return id
}

// TestASandboxOutlivesTheCommandThatStartedIt uses one as a shell script would.
func TestASandboxOutlivesTheCommandThatStartedIt(t *testing.T) {
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	seerIn := func(args ...string) result { return invoke(t, server.env, args...) }

	r := seerIn("exec", id, "--", "sh", "-c", `echo "$GREETING $1"; echo oops >&2; exit 7`, "sh", "a b")
	assert.Equal(t, result{code: 7, stdout: "hello a b\n", stderr: "oops\n"}, r)
	r = seerIn("exec", "-C", "/tmp", "-e", "X=y z", id, "--", "sh", "-c", `pwd; echo "$X"; kill -TERM $$`)
	assert.Equal(t, result{code: 128 + 15, stdout: "/tmp\ny z\n"}, r)

	var listed []seer.Info
	r = seerIn("ps", "--json", "--mine", "--tag", "team=red")
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &listed), r.stderr)
	require.Len(t, listed, 1)
	assert.Equal(t, id, listed[0].ID)
	assert.True(t, listed[0].Detached)
	assert.Equal(t, filepath.Base(binary), listed[0].Program)
	assert.Contains(t, seerIn("ps").stdout, "detached")
	assert.Empty(t, seerIn("ps", "-q", "--tag", "team=blue").stdout)
	assert.Equal(t, result{stdout: "[]\n"}, seerIn("reap", "--json"), "it was left running on purpose")

	// Another program meets it through the SDK.
	server.use(t)
	sandbox, err := seer.FromID(t.Context(), id, seer.WithBackend(seer.Modal()))
	require.NoError(t, err)
	data, err := sandbox.Exec(t.Context(), "echo from the SDK >/root/note; cat /root/note")
	require.NoError(t, err)
	assert.Equal(t, "from the SDK\n", data)
	require.NoError(t, sandbox.Close())

	target := filepath.Join(t.TempDir(), "note")
	require.Zero(t, seerIn("cp", id+":/root/note", target).code)
	copied, err := os.ReadFile(target)
	require.NoError(t, err)
	assert.Equal(t, "from the SDK\n", string(copied))
	require.Zero(t, seerIn("cp", "testdata", id+":/root/tree").code)
	assert.Equal(t, "config.yaml\nnotebook.yaml\n", seerIn("exec", id, "--", "ls", "/root/tree").stdout)

	// A target that ends in a slash is a directory to put the source into.
	inside := t.TempDir()
	require.Zero(t, seerIn("cp", "testdata", id+":/srv/").code)
	require.Zero(t, seerIn("cp", id+":/srv/testdata/config.yaml", inside+"/").code)
	assert.FileExists(t, filepath.Join(inside, "config.yaml"))
	assert.Contains(t, seerIn("cp", id+":/srv/testdata/config.yaml", inside).stderr, "cannot replace a directory")
	require.Zero(t, seerIn("exec", id, "--", "sh", "-c", "cd /srv && ln -s testdata/config.yaml link && ln -s loop loop && mkfifo pipe").code)
	require.Zero(t, seerIn("cp", id+":/srv/link", filepath.Join(inside, "link")).code)
	linked, err := os.Lstat(filepath.Join(inside, "link"))
	require.NoError(t, err)
	assert.True(t, linked.Mode().IsRegular(), "a link is followed")
	for place, want := range map[string]string{"loop": "too many levels", "pipe": "is a named pipe"} {
		assert.Contains(t, seerIn("cp", id+":/srv/"+place, filepath.Join(inside, "none")).stderr, want)
	}
	assert.Contains(t, seerIn("cp", "testdata", id+":/srv/link").stderr, "not a directory")
	assert.Contains(t, seerIn("cp", id+":/nothing", filepath.Join(inside, "nothing")).stderr, "does not exist")
	assert.NoDirExists(t, filepath.Join(inside, "nothing"))

	assert.Equal(t, id+"\tteam=red\n:4\n", seerIn("__complete", "exec", "").stdout)
	assert.Equal(t, ":0\n", seerIn("__complete", "exec", id, "").stdout)
	assert.Equal(t, id+":\tteam=red\n:6\n", seerIn("__complete", "cp", "notes", "sb-").stdout)
	assert.Equal(t, ":0\n", seerIn("__complete", "cp", "no").stdout)
	assert.Equal(t, id+"\tteam=red\n:4\n", seerIn("__complete", "mcp", "--sandbox", "").stdout)
	r = seerIn("exec", id, "--", "no-such-program")
	assert.Equal(t, 127, r.code)
	assert.NotContains(t, r.stderr, "seer: ", "it is the sandbox that says so")

	saved := filepath.Join(t.TempDir(), "snapshot.json")
	require.Zero(t, seerIn("snapshot", id, "-m", "halfway", "-o", saved).code)
	text, err := os.ReadFile(saved)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"description": "halfway"`)
	r = seerIn("restore", saved, "--json")
	var restored reached
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &restored), r.stderr)
	assert.Contains(t, restored.Ports, 9000)
	assert.Contains(t, r.stderr, "GREETING", "whose value is said to be missing")
	assert.Equal(t, "from the SDK\n", seerIn("exec", restored.ID, "--", "cat", "/root/note").stdout)

	again := filepath.Join(t.TempDir(), "again.json")
	require.NoError(t, os.WriteFile(again, fmt.Appendf(nil, `{"local_files": [[%q, "/root/note"]]}`, target), 0o600))
	require.NoError(t, os.WriteFile(target, []byte("refreshed"), 0o600))
	for _, c := range []struct {
		args []string
		want string
	}{{nil, "from the SDK\n"}, {[]string{"--refresh-files"}, "refreshed"}} {
		r = seerIn(append([]string{"restore", saved, "-f", again}, c.args...)...)
		require.Zero(t, r.code, r.stderr)
		assert.Equal(t, c.want, seerIn("exec", strings.TrimSpace(r.stdout), "--", "cat", "/root/note").stdout)
	}

	require.Zero(t, seerIn("rm", restored.ID).code)
	assert.Equal(t, exitEnded, seerIn("exec", restored.ID, "--", "true").code)
	r = seerIn("exec", "sb-nosuch", "--", "true")
	assert.Equal(t, exitNotFound, r.code)
	assert.Contains(t, r.stderr, "`seer ps` lists")
	assert.Equal(t, exitNotFound, seerIn("rm", "sb-nosuch").code)
	require.Zero(t, seerIn("rm", "--all", "--mine").code)
	assert.Empty(t, seerIn("ps", "-q").stdout)
}

// What an agent writes in its sandbox does not reach the owner's next restore.
func TestRestoreBelievesNothingOfTheSandbox(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	seerIn := func(args ...string) result {
		return invoke(t, append([]string{"SEER_TEST_OTHER=a-secret-value"}, server.env...), args...)
	}
	const lie = `{"config":{"secrets":["SEER_TEST_OTHER"],"env":{"A":"b"}}}`
	require.Zero(t, seerIn("exec", id, "--", "sh", "-c", `mkdir -p /dev/shm/seer; for f in /dev/shm/seer/state.json /dev/shm/seer/*; do echo "$1" >$f; done`, "sh", lie).code)
	saved := filepath.Join(t.TempDir(), "snapshot.json")
	require.Zero(t, seerIn("snapshot", id, "-o", saved).code)
	r := seerIn("restore", saved, "--env", "GREETING=hi", "--env", "SEER_TEST_OWN=x y")
	require.Zero(t, r.code, r.stderr)
	assert.NotContains(t, r.stderr, "GREETING")
	restored, _, _ := strings.Cut(r.stdout, "\n")
	assert.Equal(t, "hi x y \n", seerIn("exec", restored, "--", "sh", "-c", `echo "$GREETING $SEER_TEST_OWN $SEER_TEST_OTHER"`).stdout)
	assert.Equal(t, exitUsage, seerIn("restore", saved, "--env", "SEER_TEST_NOT_SET").code)

	elsewhere := "SEER_HOME=" + t.TempDir() // of another user
	r = invoke(t, append(slices.Clone(server.env), elsewhere), "snapshot", id, "-o", saved)
	require.Zero(t, r.code, r.stderr)
	r = seerIn("restore", saved)
	assert.NotZero(t, r.code)
	assert.Contains(t, r.stderr, "with -f")
	r = seerIn("restore", saved, "-f", "testdata/config.yaml")
	require.Zero(t, r.code, r.stderr)
	require.Zero(t, seerIn("rm", id, restored, strings.SplitN(r.stdout, "\n", 2)[0]).code)
}

func TestExecPassesStandardInputOnWhenAsked(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	for flags, want := range map[string]string{"-i": "given", "": ""} {
		cmd := exec.CommandContext(t.Context(), binary, append(append([]string{"exec"}, strings.Fields(flags)...), id, "--", "cat")...)
		cmd.Env = append(cleanEnviron(), server.env...)
		cmd.Stdin = strings.NewReader("given")
		out, err := cmd.Output()
		require.NoError(t, err)
		assert.Equal(t, want, string(out))
	}
	require.Zero(t, invoke(t, server.env, "rm", id).code)
}

func TestAShellInARealTerminal(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	cmd := exec.CommandContext(t.Context(), binary, "sh", id)
	cmd.Env = append(append(cleanEnviron(), server.env...), "TERM=xterm")
	terminal, other, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	defer other.Close()
	require.NoError(t, pty.Setsize(terminal, &pty.Winsize{Rows: 31, Cols: 97}))
	before := settings(t, other)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = other, other, other
	require.NoError(t, cmd.Start())

	screen := watch(terminal)
	say(t, terminal, `echo "size: $(stty size)"; echo "place: $(pwd) $(command -v python)"; echo "term: $TERM"`)
	screen.wait(t, "size: 31 97")
	screen.wait(t, "place: /workspace /opt/python/bin/python")
	screen.wait(t, "term: xterm")
	assert.NotEqual(t, before, settings(t, other), "the terminal is raw meanwhile")

	require.NoError(t, pty.Setsize(terminal, &pty.Winsize{Rows: 40, Cols: 120}))
	require.NoError(t, cmd.Process.Signal(syscall.SIGWINCH)) // as the terminal would, were it ours
	require.Eventually(t, func() bool {
		say(t, terminal, `echo "now: $(stty size)"`)
		return strings.Contains(screen.text(), "now: 40 120")
	}, patience, 200*time.Millisecond)

	// A shell of its own, because bash loses an interrupt that comes while it
	// forks: what that one prints shows that the interrupt will find it.
	say(t, terminal, `sh -c 'echo "sleeping $((40 + 1))"; exec sleep 1000'`)
	screen.wait(t, "sleeping 41")
	_, err = terminal.Write([]byte{3}) // an interrupt is for the command in the shell
	require.NoError(t, err)
	screen.wait(t, "^C")
	require.Eventually(t, func() bool { // what is typed right after an interrupt is dropped with it
		say(t, terminal, `echo "still $((40 + 3))"`)
		return strings.Contains(screen.text(), "still 43")
	}, patience, 200*time.Millisecond)
	say(t, terminal, "exit 5")
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", screen.text())
	assert.Equal(t, 5, exit.ExitCode(), "%s", screen.text())
	assert.Equal(t, before, settings(t, other), "the terminal is as it was")
	require.Zero(t, invoke(t, server.env, "rm", id).code)
}

func TestAClosedTerminalEndsItsShell(t *testing.T) {
	t.Parallel()
	server := serveIn(t, warmDir(t))
	id := up(t, server)
	running := func() string {
		return invoke(t, server.env, "exec", id, "--", "sh", "-c", `cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -c '^65432$'`).stdout
	}
	terminal, other, err := pty.Open()
	require.NoError(t, err)
	defer other.Close()
	// These tests may run under nohup; what they start does not inherit what is caught here.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "sh", id)
	cmd.Env = append(cleanEnviron(), server.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = other, other, other
	require.NoError(t, cmd.Start())
	screen := watch(terminal)
	screen.wait(t, "#")
	say(t, terminal, "sleep 65432")
	require.Eventually(t, func() bool { return running() == "1\n" }, patience, 100*time.Millisecond)
	require.NoError(t, terminal.Close())
	for range 2 { // as many as a shell and its terminal send together
		require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	}
	require.Error(t, cmd.Wait())
	assert.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	require.Eventually(t, func() bool { return running() == "0\n" }, patience, 100*time.Millisecond)
	require.Zero(t, invoke(t, server.env, "rm", id).code)
}

func say(t *testing.T, terminal io.Writer, line string) {
	t.Helper()
	_, err := io.WriteString(terminal, line+"\r")
	require.NoError(t, err)
}

// settings is how a terminal treats what is typed.
func settings(t *testing.T, terminal *os.File) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "stty", "-g")
	cmd.Stdin = terminal
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(bytes.TrimSpace(out))
}

// screen is all that a terminal has shown.
type screen struct{ shown *lockedBuffer }

func watch(terminal io.Reader) screen {
	s := screen{shown: &lockedBuffer{}}
	go func() { _, _ = io.Copy(s.shown, terminal) }()
	return s
}

func (s screen) text() string { return s.shown.String() }

func (s screen) wait(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.text(), text) }, patience, 20*time.Millisecond, "%s", s.text())
}
