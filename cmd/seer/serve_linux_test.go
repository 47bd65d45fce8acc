package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/local"
)

// served is a running `seer local serve`.
type served struct {
	cmd  *exec.Cmd
	env  []string
	log  *lockedBuffer
	done chan struct{}
	err  error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// warmDir is the user's own state directory, so that the image below all others
// is not made anew for each test. Several servers share it.
func warmDir(t *testing.T) string {
	t.Helper()
	dir, err := local.StateDir()
	require.NoError(t, err)
	return dir
}

// serveIn starts a server on a state directory and waits for its export lines.
func serveIn(t *testing.T, dir string, args ...string) *served {
	t.Helper()
	s := &served{log: &lockedBuffer{}, done: make(chan struct{})}
	s.cmd = exec.Command(binary, append([]string{"local", "serve", "--dir", dir}, args...)...)
	s.cmd.Env = cleanEnviron()
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { s.stop(t, syscall.SIGKILL) })
	lines := bufio.NewScanner(stdout)
	for len(s.env) < 3 && lines.Scan() {
		variable, exported := strings.CutPrefix(lines.Text(), "export ")
		require.True(t, exported, "printed %q", lines.Text())
		s.env = append(s.env, variable)
	}
	go func() {
		defer close(s.done)
		_, _ = io.Copy(io.Discard, stdout)
		s.err = s.cmd.Wait()
	}()
	require.Len(t, s.env, 3, "the server ended: %s", s.log)
	return s
}

func (s *served) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.done:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		t.Errorf("the server did not end: %s", s.log)
	}
}

// use makes this process a program of the server.
func (s *served) use(t *testing.T) {
	t.Helper()
	t.Setenv("MODAL_CONFIG_PATH", filepath.Join(t.TempDir(), "none"))
	t.Setenv("SEER_BACKEND", "")
	for _, variable := range s.env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// client talks to the server as modal-go does, below the SDK.
func (s *served) client(t *testing.T) *modalclient.Client {
	t.Helper()
	s.use(t)
	client, err := modalclient.New(t.Context(), modalclient.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func startOn(t *testing.T, s *served, config seer.SandboxConfig) *seer.Sandbox {
	t.Helper()
	s.use(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(seer.Modal())).Start(ctx)
	require.NoError(t, err)
	return sandbox
}

func TestARestartKeepsSnapshotsAndVolumes(t *testing.T) {
	dir := warmDir(t)
	first := serveIn(t, dir, "--token-id", "ak-mine", "--token-secret", "as-mine")
	assert.Contains(t, first.env, "MODAL_TOKEN_ID=ak-mine")

	client := first.client(t)
	name := "kept-" + strings.ToLower(rand.Text())
	volume, err := client.Volume(t.Context(), name, true)
	require.NoError(t, err)
	app, err := client.App(t.Context(), "seer", true)
	require.NoError(t, err)
	image, err := client.BuildImage(t.Context(), app, "python:3.11-slim-bookworm", nil, nil)
	require.NoError(t, err)
	writer, err := client.Create(t.Context(), app, modalclient.CreateSpec{
		Image: image, Command: []string{"sh", "-c", "echo kept >/data/file && sync /data && exec sleep 3600"},
		Volumes: []modalclient.Mount{{Volume: volume, Path: "/data"}},
	})
	require.NoError(t, err)
	require.NoError(t, writer.Ready(t.Context(), modalclient.Queue{}))

	sandbox := startOn(t, first, seer.SandboxConfig{})
	require.NoError(t, sandbox.WriteFile(t.Context(), "/workspace/note", []byte("saved")))
	snapshot, err := sandbox.Snapshot(t.Context(), "before the restart")
	require.NoError(t, err)
	require.DirExists(t, filepath.Join(dir, "sandboxes", sandbox.SandboxID()))
	first.stop(t, syscall.SIGTERM)
	require.NoError(t, first.err, "%s", first.log)
	assertGone(t, dir, sandbox.SandboxID(), writer.ID())

	second := serveIn(t, dir)
	assert.NotContains(t, second.env, "MODAL_TOKEN_ID=ak-mine")
	client = second.client(t)
	volume, err = client.Volume(t.Context(), name, false)
	require.NoError(t, err)
	data, err := client.VolumeReadFile(t.Context(), volume, "file")
	require.NoError(t, err)
	assert.Equal(t, "kept\n", string(data))

	restored, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, seer.WithBackend(seer.Modal()))
	require.NoError(t, err)
	note, err := restored.ReadFile(t.Context(), "/workspace/note")
	require.NoError(t, err)
	assert.Equal(t, "saved", string(note))
	require.NoError(t, restored.Terminate(t.Context()))
	require.NoError(t, client.DeleteVolume(t.Context(), volume))
	second.stop(t, syscall.SIGINT)
	require.NoError(t, second.err, "%s", second.log)
}

func TestACrashLeavesNothingBehindTheNextStart(t *testing.T) {
	dir := warmDir(t)
	first := serveIn(t, dir)
	sandbox := startOn(t, first, seer.SandboxConfig{})
	const marker = "31337.25" // the argument that tells our processes from all others
	_, err := sandbox.Exec(t.Context(), "setsid sleep "+marker+" >/dev/null 2>&1 &")
	require.NoError(t, err)
	running := func() int { return len(processes(t, "sleep\x00"+marker)) }
	require.Eventually(t, func() bool { return running() == 1 }, patience, 10*time.Millisecond)

	first.stop(t, syscall.SIGKILL)
	second := serveIn(t, dir)
	require.Eventually(t, func() bool { return running() == 0 }, patience, 10*time.Millisecond)
	assertGone(t, dir, sandbox.SandboxID())

	again := startOn(t, second, seer.SandboxConfig{})
	out, err := again.Exec(t.Context(), "echo alive")
	require.NoError(t, err)
	assert.Equal(t, "alive\n", out)
	require.NoError(t, again.Terminate(t.Context()))
}

func TestAWrongTokenIsToldWhatToDo(t *testing.T) {
	server := serveIn(t, warmDir(t))
	server.use(t)
	t.Setenv("MODAL_TOKEN_SECRET", "as-wrong")
	_, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(seer.Modal())).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrUnauthorized)
	assert.ErrorContains(t, err, "to what this server was started with")
	assert.NotContains(t, err.Error(), "as-wrong")
}

func TestTunnelsOfAServedSandboxAnswerAtTheirURL(t *testing.T) {
	server := serveIn(t, warmDir(t))
	sandbox := startOn(t, server, seer.SandboxConfig{EncryptedPorts: []int{9000}})
	assert.Equal(t, "modal", sandbox.Backend())
	serving := sandbox.Command("python", "-m", "http.server", "--bind", "127.0.0.1", "9000")
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, serving.Start(ctx))
	url, err := sandbox.URL(t.Context(), 9000)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return answers(t.Context(), url) }, patience, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, serving.Wait(), context.Canceled)
	require.NoError(t, sandbox.Terminate(t.Context()))
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

func TestServeRefusesWhatWouldOpenTheMachine(t *testing.T) {
	for args, want := range map[string]string{
		"--listen 0.0.0.0:0":                  "only loopback addresses",
		"--listen [::]:0":                     "only loopback addresses",
		"--listen nonsense":                   "such as 127.0.0.1:8900",
		"--token-id ak-lonely":                "go together",
		"--token-id a;b --token-secret s":     "a token is made of letters",
		"--allow-host localhost:1":            "write an IP address and a port",
		"--listen 127.0.0.1:1 --dir /usr/lib": "choose another",
		"--registry-mirror not/a/host":        "registry mirror",
		"--secret lonely":                     "write NAME=FILE",
		"--secret name=/nonexistent":          "read secret name",
	} {
		r := invoke(t, nil, append([]string{"local", "serve", "--dir", t.TempDir()}, strings.Fields(args)...)...)
		assert.Equal(t, exitFailure, r.code, args)
		assert.Contains(t, r.stderr, want)
		assert.Empty(t, r.stdout)
	}
}

func TestASecretsFileIsNotQuoted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	require.NoError(t, os.WriteFile(file, []byte("hidden value\n"), 0o600))
	r := invoke(t, nil, "local", "serve", "--dir", t.TempDir(), "--secret", "greeting="+file)
	assert.Equal(t, exitFailure, r.code)
	assert.Contains(t, r.stderr, "env:1: no NAME=value")
	assert.NotContains(t, r.stderr, "hidden")
}

// assertGone finds no trace of sandboxes in a state directory.
func assertGone(t *testing.T, dir string, ids ...string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	for _, id := range ids {
		assert.NoDirExists(t, filepath.Join(dir, "sandboxes", id))
		assert.NotContains(t, string(mounts), id)
	}
}

// processes finds those whose command line begins with the words.
func processes(t *testing.T, words string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, path := range all {
		if line, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(line), words) {
			found = append(found, path)
		}
	}
	return found
}
