package seer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

const (
	makeManyFiles = `
import os
for d in range(500):
    path = f"/opt/many/ünï {d}"
    os.makedirs(path)
    for kind, mode in enumerate((0o600, 0o755)):
        with open(f"{path}/{kind}", "w") as out:
            out.write(f"{d} {kind}")
        os.chmod(f"{path}/{kind}", mode)
    for f in range(2, 100):  # links spare the disk of whoever runs this test
        os.link(f"{path}/{f % 2}", f"{path}/{f}")
`
	describeManyFiles = `cd /opt/many && find . -printf '%P %y %m %s %n\n' | LC_ALL=C sort | sha256sum &&
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum && find . -type f | wc -l`
)

func TestSnapshotOfManyFiles(t *testing.T) {
	server := seertest.NewServer(t)
	ctx := within(t, 2*time.Minute)
	first := startOn(t, server, seer.SandboxConfig{})
	_, err := first.ExecPython(ctx, makeManyFiles)
	require.NoError(t, err)
	want, err := first.Exec(ctx, describeManyFiles)
	require.NoError(t, err)
	require.Contains(t, want, "50000")
	snapshot, err := first.Snapshot(ctx, "many")
	require.NoError(t, err)
	second, err := seer.FromSnapshot(ctx, snapshot, seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, second) })
	got, err := second.Exec(ctx, describeManyFiles)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestSnapshotOfADirectory(t *testing.T) {
	server := seertest.NewServer(t)
	first := startOn(t, server, seer.SandboxConfig{})
	_, err := first.Exec(t.Context(), `mkdir -p /opt/results/deep && echo one >/opt/results/deep/file && ln -s deep/file /opt/results/link && echo no >/opt/other`)
	require.NoError(t, err)
	saved, err := first.SnapshotDir(t.Context(), "/opt/results/", "results")
	require.NoError(t, err)
	assert.Equal(t, "/opt/results", saved.Dir)
	assert.Equal(t, "results", saved.Description)
	terminate(t, first)

	second := startOn(t, server, seer.SandboxConfig{})
	require.NoError(t, second.RestoreDir(t.Context(), saved, "/srv/results"))
	out, err := second.Exec(t.Context(), `cat /srv/results/link; echo two >/srv/results/new; ls /srv/results; ls /opt/other`)
	require.Error(t, err)
	assert.Equal(t, "one\ndeep\nlink\nnew\n", out, "the directory alone, and it can be written")

	_, err = seer.FromSnapshot(t.Context(), saved, seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
	require.ErrorContains(t, err, "RestoreDir")
	whole, err := second.Snapshot(t.Context(), "")
	require.NoError(t, err)
	require.ErrorContains(t, second.RestoreDir(t.Context(), whole, "/srv/x"), "FromSnapshot")
	require.ErrorContains(t, second.RestoreDir(t.Context(), saved, "relative"), "absolute")
	_, err = second.SnapshotDir(t.Context(), "relative", "")
	require.ErrorContains(t, err, "absolute")
	_, err = second.SnapshotDir(t.Context(), "/no/such/dir", "")
	require.Error(t, err)
}

func TestAFailedSnapshotStillTerminates(t *testing.T) { // D8
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	server.Fail("SandboxSnapshotFs", errors.New("injected"), 1)
	_, err := sandbox.SnapshotAndTerminate(t.Context(), "")
	require.ErrorContains(t, err, "injected")
	assert.Empty(t, server.Sandboxes())

	sandbox = startOn(t, server, seer.SandboxConfig{})
	server.Fail("SandboxTerminate", errors.New("no end"), 1)
	snapshot, err := sandbox.SnapshotAndTerminate(t.Context(), "kept")
	require.ErrorContains(t, err, "no end")
	require.NotNil(t, snapshot)
}
