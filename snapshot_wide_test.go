package seer_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

const (
	// Most of them are empty, and a third are links: that spares the disk of
	// whoever runs this test.
	makeManyFiles = `
import os
for d in range(50):
    path = f"/opt/many/ünï {d}"
    os.makedirs(path)
    for f in range(70):
        with open(f"{path}/{f}", "w") as out:
            out.write(f"{d} {f}" if f < 10 else "")
        os.chmod(f"{path}/{f}", (0o600, 0o755, 0o444)[f % 3])
    for f in range(70, 100):
        os.link(f"{path}/{f - 70}", f"{path}/{f}")
`
	describeManyFiles = `cd /opt/many && find . -printf '%P %y %m %s %n\n' | LC_ALL=C sort | sha256sum &&
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum && find . -type f | wc -l`
)

func TestSnapshotOfManyFiles(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, 2*time.Minute)
	first := startOn(t, server, seer.SandboxConfig{})
	_, err := first.ExecPython(ctx, makeManyFiles)
	require.NoError(t, err)
	want, err := first.Exec(ctx, describeManyFiles)
	require.NoError(t, err)
	require.Contains(t, want, "5000\n")
	snapshot, err := first.Snapshot(ctx, "many")
	require.NoError(t, err)
	second, err := seer.FromSnapshot(ctx, snapshot, seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, second) })
	got, err := second.Exec(ctx, describeManyFiles)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// script runs one of the programs in testdata/tree.
func script(t *testing.T, sandbox *seer.Sandbox, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "tree", name))
	require.NoError(t, err)
	out, err := sandbox.ExecPython(within(t, patience), string(source))
	require.NoError(t, err)
	return out
}

func TestSnapshotOfOddFilesAndOfAnotherOnTop(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, 2*time.Minute)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	untouched := script(t, sandbox, "describe.py")
	for _, change := range []string{"make.py", "remake.py"} {
		script(t, sandbox, change)
		want := script(t, sandbox, "describe.py")
		require.NotEqual(t, untouched, want)
		snapshot, err := sandbox.SnapshotAndTerminate(ctx, change)
		require.NoError(t, err)
		restored, err := seer.FromSnapshot(ctx, snapshot, seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
		require.NoError(t, err)
		t.Cleanup(func() { terminate(t, restored) })
		require.Equal(t, strings.Split(want, "\n"), strings.Split(script(t, restored, "describe.py"), "\n"))
		sandbox = restored
	}
	fresh := startOn(t, server, seer.SandboxConfig{})
	assert.Equal(t, untouched, script(t, fresh, "describe.py"), "the image itself is as it was")
}

func TestSnapshotTellsWhatIsInstalled(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{SystemPackages: []string{"bash"}})
	out, err := sandbox.Exec(t.Context(), `
		dir=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/seer_probe-1.2.dist-info
		mkdir "$dir" && printf 'Metadata-Version: 2.1\nName: seer-probe\nVersion: 1.2\n' >"$dir/METADATA"
		dpkg-query -W -f '${Version}' bash`)
	require.NoError(t, err)
	snapshot, err := sandbox.Snapshot(t.Context(), "")
	require.NoError(t, err)
	assert.Contains(t, snapshot.PythonPackages, "seer-probe==1.2")
	assert.True(t, slices.IsSorted(snapshot.PythonPackages))
	assert.Equal(t, []string{"bash=" + out}, snapshot.SystemPackages)

	_, err = sandbox.Exec(t.Context(), `rm "$(command -v python)"`)
	require.NoError(t, err)
	snapshot, err = sandbox.Snapshot(t.Context(), "")
	require.NoError(t, err, "a sandbox that cannot tell is saved all the same")
	assert.Empty(t, snapshot.PythonPackages)
}

func TestSnapshotOfADirectory(t *testing.T) {
	t.Parallel()
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

	sandbox = startOn(t, server, seer.SandboxConfig{})
	server.Fail("SandboxSnapshotFs", errors.New("not saved"), 1)
	server.Fail("SandboxTerminate", errors.New("not ended"), 1)
	_, err = sandbox.SnapshotAndTerminate(t.Context(), "")
	require.ErrorContains(t, err, "not saved", "both are told")
	require.ErrorContains(t, err, "not ended")
}
