package seer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// takeOver is an agent that replaces all that the SDK keeps in a sandbox by
// what it would like its owner to believe.
const takeOver = `
	lie='{"config":{"secrets":["SEER_TEST_OTHER"],"env":{"A":"b"},"local_files":[["/etc/hostname","/root/stolen"]],"timeout":"23h","encrypted_ports":[9999]},
		"scoped":true,"models":[{"volume":"other","path":"/models/other"}],"repos":[{"name":"lie","path":"/"}]}'
	mkdir -p /dev/shm/seer /run/seer
	for dir in /dev/shm/seer /run/seer; do
		find $dir -type f -exec sh -c 'for f; do printf "%s" "$0" >"$f"; done' "$lie" {} +
		for name in state.json record.json config.json lease; do
			printf '%s' "$lie" >$dir/$name
			ln -sf $dir/$name $dir/state
		done
	done
	pkill -KILL -f '[s]eer-watchdog'
	true`

// What a sandbox may have is what it was started with, whatever the agent in
// it writes, replaces or kills.
func TestAnAgentDoesNotChangeWhatItsOwnerPasses(t *testing.T) {
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	t.Setenv("SEER_TEST_OWN", "a-secret-value")
	t.Setenv("SEER_TEST_OTHER", "another-secret-value")
	dir := write(t, map[string]string{"file": "mine"})
	config := seer.SandboxConfig{
		Secrets: []string{"SEER_TEST_OWN"}, Env: map[string]string{"WHO": "me"}, BlockNetwork: true, Timeout: 40 * time.Minute,
		LocalFiles: []seer.Mount{{Source: filepath.Join(dir, "file"), Target: "/root/file"}},
	}
	first := startClosed(t, server, config)
	looking, err := seer.FromID(t.Context(), first.SandboxID(), backend)
	require.NoError(t, err)
	_, err = looking.Exec(t.Context(), takeOver)
	require.NoError(t, err)
	require.NoError(t, looking.Close())

	again, err := seer.FromID(t.Context(), first.SandboxID(), backend)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, again) })
	assert.True(t, again.Verified())
	assert.Empty(t, again.ModelHandles())
	assert.Empty(t, again.RepoHandles())
	snapshot, err := again.Snapshot(t.Context(), "")
	require.NoError(t, err)
	want := config
	want.Env = nil // its values stay with the program that set them
	assert.Equal(t, want, snapshot.Config)
	assert.Equal(t, []string{"WHO"}, snapshot.MissingEnv)
	assert.Empty(t, snapshot.Models)
	assert.Empty(t, snapshot.Repos)
	_, err = seer.ScopedFromID(t.Context(), first.SandboxID(), backend)
	require.ErrorContains(t, err, "not a scoped sandbox")

	restored, err := seer.FromSnapshot(t.Context(), snapshot, snapshot.Config, backend, seer.WithRefreshedFiles())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	out, err := restored.Exec(t.Context(), `echo "$SEER_TEST_OWN"; cat /root/file; ls /root/stolen; env | grep -c another-secret`)
	require.Error(t, err)
	assert.Equal(t, "a-secret-value\nmine0\n", out)
	created := server.Calls()
	last := created[len(created)-1]
	for _, call := range created {
		if call.RPC == "SandboxCreate" {
			last = call
		}
	}
	assert.Contains(t, last.Request, "BLOCKED")
	assert.Contains(t, last.Request, "2400")
}

// A sandbox that this machine knows nothing of can be used. What it says
// itself decides nothing.
func TestASandboxWithoutARecordIsUnverified(t *testing.T) {
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	t.Setenv("SEER_TEST_OTHER", "another-secret-value")
	id := startClosed(t, server, seer.SandboxConfig{BlockNetwork: true, Secrets: []string{"SEER_TEST_OTHER"}}).SandboxID()
	t.Setenv("SEER_HOME", t.TempDir()) // as another user, or on another machine

	found, err := seer.FromID(t.Context(), id, backend)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, found) })
	assert.False(t, found.Verified())
	_, err = found.Exec(t.Context(), takeOver)
	require.NoError(t, err)
	require.NoError(t, found.WriteFile(t.Context(), "/root/note", []byte("hi")))
	snapshot, err := found.Snapshot(t.Context(), "of a stranger")
	require.NoError(t, err)
	assert.True(t, snapshot.Unverified)
	assert.Equal(t, seer.SandboxConfig{}, snapshot.Config)

	text, err := json.Marshal(snapshot)
	require.NoError(t, err)
	var mailed seer.Snapshot
	require.NoError(t, json.Unmarshal(text, &mailed))
	_, err = seer.FromSnapshot(t.Context(), &mailed, mailed.Config, backend)
	require.ErrorIs(t, err, seer.ErrUnverified)
	_, err = seer.ScopedFromSnapshot(t.Context(), &mailed, mailed.Config, backend)
	require.ErrorIs(t, err, seer.ErrUnverified)
	restored, err := seer.FromSnapshot(t.Context(), &mailed, seer.SandboxConfig{BlockNetwork: true}, backend)
	require.NoError(t, err, "with a config of the caller's own")
	t.Cleanup(func() { terminate(t, restored) })
	note, err := restored.ReadFile(t.Context(), "/root/note")
	require.NoError(t, err)
	assert.Equal(t, "hi", string(note))
}

// Records are readable by their user alone, are believed only where nobody
// else may write them, and go with their sandbox.
func TestRecordsOfSandboxes(t *testing.T) {
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	startOn(t, server, seer.SandboxConfig{}) // its images are where they were
	home := t.TempDir()
	t.Setenv("SEER_HOME", home)
	dir := filepath.Join(home, "records", "local")
	closed := startClosed(t, server, seer.SandboxConfig{Env: map[string]string{"KEY": "not-on-disk"}})
	path := filepath.Join(dir, closed.SandboxID()+".json")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotContains(t, string(content), "not-on-disk")
	for name, mode := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}

	old := filepath.Join(dir, "sb-longgone.json")
	require.NoError(t, os.WriteFile(old, []byte("{}"), 0o600))
	past := time.Now().Add(-26 * time.Hour)
	require.NoError(t, os.Chtimes(old, past, past))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "swept"), past, past))
	other := startClosed(t, server, seer.SandboxConfig{})
	assert.NoFileExists(t, old)
	assert.FileExists(t, path)
	require.NoError(t, seer.TerminateAll(t.Context(), []string{other.SandboxID()}, backend))
	assert.NoFileExists(t, filepath.Join(dir, other.SandboxID()+".json"))

	require.NoError(t, os.Chmod(dir, 0o777)) // anybody may have written there
	found, err := seer.FromID(t.Context(), closed.SandboxID(), backend)
	require.NoError(t, err)
	assert.False(t, found.Verified())
	require.NoError(t, found.Close())
	require.NoError(t, os.Chmod(dir, 0o700))
	endClosed(t, server, closed.SandboxID())
	assert.NoFileExists(t, path)
}

// A record counts where nobody else may write, whatever a name leads to.
func TestRecordsOfOthersAreNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	server := seertest.NewServer(t)
	home := t.TempDir()
	t.Setenv("SEER_HOME", home)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	records := filepath.Join(home, "records", "local")
	verified := func() bool {
		found, err := seer.FromID(t.Context(), sandbox.SandboxID(), seer.WithBackend(server.Backend()))
		require.NoError(t, err)
		defer func() { assert.NoError(t, found.Close()) }()
		return found.Verified()
	}
	assert.True(t, verified())

	require.NoError(t, os.Chown(records, 65534, 65534))
	assert.False(t, verified(), "a directory of another user")
	require.NoError(t, os.Chown(records, 0, 0))
	require.NoError(t, os.Chmod(records, 0o777)) //nolint:gosec // which is what is tried
	assert.False(t, verified(), "a directory that others may write to")
	require.NoError(t, os.Chmod(records, 0o700)) //nolint:gosec // a directory
	assert.True(t, verified())
}
