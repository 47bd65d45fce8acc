package seer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// treeHash describes every file below some directories of a sandbox: type,
// mode, owner, link target and content.
const treeHash = `for dir in /workspace /root /opt/kept /etc/seer-test /usr/share/common-licenses; do
	find "$dir" -printf '%p %y %m %U %G %l\n' 2>/dev/null
	find "$dir" -type f -exec sha256sum -- {} + 2>/dev/null
done | sort`

func TestSnapshotRestoresTheFilesAsTheyWere(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	config := fullConfig(t)
	first := startOn(t, server, config)
	_, err := first.Exec(t.Context(), `
		mkdir -p /opt/kept "/workspace/odd dir" /etc/seer-test
		echo secret >/root/.private && chmod 600 /root/.private
		printf 'a\nb' >"/workspace/odd dir/ünï"
		ln -s ../nowhere /workspace/dangling
		echo one >/workspace/hard && ln /workspace/hard /workspace/hard2
		truncate -s 50M /workspace/sparse
		chmod 4755 /workspace/hard
		rm -r /usr/share/common-licenses/GPL*
		rm /workspace/file`)
	require.NoError(t, err)
	want, err := first.Exec(t.Context(), treeHash)
	require.NoError(t, err)

	snapshot, err := first.Snapshot(t.Context(), "after setup")
	require.NoError(t, err)
	assert.Equal(t, "after setup", snapshot.Description) // D12
	_, err = first.Exec(t.Context(), "rm -r /workspace/*; echo later >/root/later")
	require.NoError(t, err)
	terminate(t, first)

	mailed, err := json.Marshal(snapshot)
	require.NoError(t, err)
	var received seer.Snapshot
	require.NoError(t, json.Unmarshal(mailed, &received))
	assert.Equal(t, *snapshot, received)

	second, err := seer.FromSnapshot(t.Context(), &received, config, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, second) })
	got, err := second.Exec(t.Context(), treeHash)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	out, err := second.Exec(t.Context(), `stat -c %h /workspace/hard; du -k /workspace/sparse | cut -f1; echo $A`)
	require.NoError(t, err)
	assert.Equal(t, "2\n0\nb\n", out, "hard links, holes and environment")
}

func TestRestoringWhatCannotBeRestored(t *testing.T) {
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	_, err := seer.FromSnapshot(t.Context(), nil, seer.SandboxConfig{}, backend)
	require.ErrorContains(t, err, "no image ID")
	gone := &seer.Snapshot{ImageID: "im-0000000000000000000000", Description: "long ago"}
	_, err = seer.FromSnapshot(t.Context(), gone, seer.SandboxConfig{}, backend)
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.ErrorContains(t, err, "long ago")
	elsewhere := &seer.Snapshot{ImageID: "im-0000000000000000000000", Backend: "modal"}
	_, err = seer.FromSnapshot(t.Context(), elsewhere, seer.SandboxConfig{}, backend)
	require.ErrorContains(t, err, "modal backend")

	made, err := startOn(t, server, seer.SandboxConfig{}).Snapshot(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "local", made.Backend)
	require.NoError(t, clientOf(t, server).DeleteImage(t.Context(), made.ImageID)) // as Modal does one day
	before := len(server.Calls())
	_, err = seer.FromSnapshot(t.Context(), made, seer.SandboxConfig{}, backend)
	require.ErrorIs(t, err, seer.ErrNotFound)
	require.ErrorContains(t, err, made.ImageID)
	require.ErrorContains(t, err, "expired")
	_, err = seer.ScopedFromSnapshot(t.Context(), made, seer.SandboxConfig{}, backend)
	require.ErrorIs(t, err, seer.ErrNotFound)
	for _, call := range server.Calls()[before:] {
		assert.NotContains(t, []string{"AppGetOrCreate", "SandboxCreate", "SecretGetOrCreate"}, call.RPC, "nothing was provisioned")
	}
}

func TestRestoredFilesAreRefreshedOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	dir := write(t, map[string]string{"file": "old", "deep/one": "old", "deep/two": "old"})
	config := seer.SandboxConfig{
		LocalFiles: []seer.Mount{{Source: filepath.Join(dir, "file"), Target: "/workspace/file"}},
		LocalDirs:  []seer.Mount{{Source: filepath.Join(dir, "deep"), Target: "/workspace/deep"}},
	}
	first := startOn(t, server, config)
	_, err := first.Exec(t.Context(), `echo -n agent >/workspace/file; echo -n kept >/workspace/deep/three`)
	require.NoError(t, err)
	snapshot, err := first.Snapshot(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("new"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "file"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "deep", "one"), []byte("new"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(dir, "deep", "two")))

	const show = `cd /workspace; stat -c %a file; for f in file deep/*; do echo "$f $(cat $f)"; done`
	asSaved, err := seer.FromSnapshot(t.Context(), snapshot, config, backend)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, asSaved) })
	got, err := asSaved.Exec(t.Context(), show)
	require.NoError(t, err)
	assert.Equal(t, "600\nfile agent\ndeep/one old\ndeep/three kept\ndeep/two old\n", got)

	refreshed, err := seer.FromSnapshot(t.Context(), snapshot, config, backend, seer.WithRefreshedFiles())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, refreshed) })
	got, err = refreshed.Exec(t.Context(), show)
	require.NoError(t, err)
	assert.Equal(t, "755\nfile new\ndeep/one new\ndeep/three kept\ndeep/two old\n", got)

	require.NoError(t, os.RemoveAll(dir))
	again, err := seer.FromSnapshot(t.Context(), snapshot, config, backend)
	require.NoError(t, err, "files that are not copied need not be there")
	terminate(t, again)
	_, err = seer.FromSnapshot(t.Context(), snapshot, config, backend, seer.WithRefreshedFiles())
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	assert.ErrorContains(t, err, "LocalFiles[0].Source")
}
