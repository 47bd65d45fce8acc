//go:build linux

package linux_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

// on starts a sandbox on an image.
func on(img runtime.Image) func(*runtime.Spec) {
	return func(spec *runtime.Spec) { spec.Image = img.ID }
}

const writeMany = `
	mkdir -p /workspace/empty /workspace/dir /sandbox
	echo one > /workspace/one; chmod 4750 /workspace/one
	ln /workspace/one /workspace/hard; ln -s ../missing /workspace/soft
	mkfifo /workspace/fifo
	printf x | dd of=/workspace/sparse bs=1 seek=100M 2>/dev/null
	echo tmp > /tmp/kept; echo root > /root/.kept; echo home > /home/kept; echo run > /run/kept
	printf 'odd' > "/workspace/a b
 c-ü"
	chmod 000 /workspace/dir
	rm -r /usr/share/doc; mkdir /usr/share/doc; echo new > /usr/share/doc/new
	rm /etc/services || true; echo changed > /etc/profile
	echo gone > /dev/shm/gone`

const readMany = `
	stat -c '%n %a %h %F' /workspace/* | sort
	cat /workspace/one /tmp/kept /root/.kept /home/kept /run/kept /etc/profile; readlink /workspace/soft
	cat /workspace/a*
	echo; stat -c %s /workspace/sparse; test $(stat -c %b /workspace/sparse) -lt 1000 && echo sparse
	ls /usr/share/doc; ls /etc/services 2>/dev/null; ls /sandbox; ls /dev/shm`

// Else the end of a sandbox would wait for all that was ever written to the host's disk.
func TestNothingInsideWaitsForTheHostsDisk(t *testing.T) {
	s := start(t, newRuntime(t))
	overlays := strings.Fields(sh(t, s, `awk '$3 == "overlay" { print $4 }' /proc/mounts`))
	require.NotEmpty(t, overlays)
	for _, options := range overlays {
		assert.Contains(t, options, "volatile") // "fsync=volatile" by newer kernels
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r, func(spec *runtime.Spec) { spec.Env = []string{"NOT=stored"} })
	sh(t, s, writeMany)
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "while :; do date > /tmp/busy.$$; mv /tmp/busy.$$ /tmp/busy; done"}})
	require.NoError(t, err)
	img, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Signal(9))
	finish(t, p)
	want := sh(t, s, "rm /dev/shm/gone; "+readMany)
	sh(t, s, "rm -rf /workspace /tmp/kept") // not in the snapshot

	restored := start(t, r, on(img))
	assert.Equal(t, want, sh(t, restored, readMany))
	assert.Contains(t, want, "/workspace/one 4750 2 regular file\n")

	// A snapshot of what stands on a snapshot, in which things went.
	sh(t, restored, "chmod 700 /workspace/dir && rm -r /workspace && echo second > /root/second; rm /root/.kept /usr/share/doc/new")
	second, err := restored.Snapshot(t.Context())
	require.NoError(t, err)
	again := start(t, r, on(second))
	assert.Equal(t, "second\n", sh(t, again, "cat /root/second; ls -d /workspace /root/.kept /usr/share/doc/* 2>/dev/null || true"))
	require.NoError(t, again.Terminate(t.Context()))

	require.NoError(t, restored.Terminate(t.Context()))
	require.NoError(t, r.RemoveImage(t.Context(), img.ID))
	_, err = r.Image(t.Context(), img.ID)
	assert.ErrorIs(t, err, runtime.ErrNotFound)
	assert.Equal(t, "second\n", sh(t, start(t, r, on(second)), "cat /root/second"), "the layer below is still needed")
	require.NoError(t, r.RemoveImage(t.Context(), second.ID))
}

func TestSnapshotOutlivesTheRuntime(t *testing.T) {
	cfg := linux.Config{Dir: seededDir(t)}
	first, err := linux.New(cfg)
	require.NoError(t, err)
	s := start(t, first)
	sh(t, s, "echo kept > /root/file")
	img, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	_, err = first.Start(t.Context(), runtime.Spec{ID: "late", Image: img.ID, Command: []string{"true"}})
	assert.Error(t, err)

	second := newRuntimeIn(t, cfg)
	assert.Equal(t, "kept\n", sh(t, start(t, second, on(img)), "cat /root/file"))

	// As if it had been made on another machine.
	path := filepath.Join(cfg.Dir, "images", img.ID+".json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	host := hostImage(t, second).ID[len("im-host-"):]
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(b), host, "0123456789abcdef")), 0o600))
	_, err = second.Image(t.Context(), img.ID)
	assert.ErrorContains(t, err, "another state of this machine")
	assert.NotErrorIs(t, err, runtime.ErrNotFound)
}

func TestSnapshotDirAndMountImage(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r)
	sh(t, s, "mkdir -p /project/src && echo code > /project/src/main && chmod 750 /project && ln -s src /project/link")
	img, err := s.SnapshotDir(t.Context(), "/project")
	require.NoError(t, err)

	other := start(t, r)
	require.NoError(t, other.MountImage(t.Context(), "/mnt/project", img.ID))
	assert.Equal(t, "code\n750\n", sh(t, other, "cat /mnt/project/link/main; stat -c %a /mnt/project"))
	sh(t, other, "echo changed > /mnt/project/src/main; rm /mnt/project/link")
	assert.Equal(t, "code\n", sh(t, s, "cat /project/src/main"))

	require.NoError(t, other.MountImage(t.Context(), "/mnt/empty", ""))
	sh(t, other, "echo x > /mnt/empty/file")
	require.NoError(t, other.MountImage(t.Context(), "/mnt/host", hostImage(t, r).ID))
	assert.Equal(t, sh(t, other, "ls /usr/bin"), sh(t, other, "ls /mnt/host/usr/bin"))
	assert.ErrorIs(t, other.MountImage(t.Context(), "/mnt/none", "im-none"), runtime.ErrNotFound)
	_, err = s.SnapshotDir(t.Context(), "/no/such/directory")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestVolumes(t *testing.T) {
	r := newRuntime(t)
	ctx := t.Context()
	require.NoError(t, r.CreateVolume(ctx, "vo-test"))
	t.Cleanup(func() { assert.NoError(t, r.RemoveVolume(context.Background(), "vo-test")) })
	mounted := func(readOnly bool) func(*runtime.Spec) {
		return func(spec *runtime.Spec) {
			spec.Volumes = []runtime.VolumeMount{{Volume: "vo-test", Path: "/data/volume", ReadOnly: readOnly}}
		}
	}
	writer := start(t, r, mounted(false))
	sh(t, writer, "mkdir /data/volume/dir; echo kept > /data/volume/dir/file; ln -s /etc/passwd /data/volume/out")
	img, err := writer.Snapshot(ctx)
	require.NoError(t, err)
	require.NoError(t, writer.Terminate(ctx))
	require.NoError(t, r.CreateVolume(ctx, "vo-test"), "an existing one stays")

	reader := start(t, r, mounted(true))
	assert.Equal(t, "kept\n", sh(t, reader, "cat /data/volume/dir/file"))
	got := run(t, reader, "sh", "-c", "echo x > /data/volume/new")
	assert.NotZero(t, got.status.Code)
	assert.Contains(t, got.stderr, "Read-only file system")
	assert.NotZero(t, run(t, reader, "mount", "-o", "remount,rw", "/data/volume").status.Code)
	assert.Equal(t, "", sh(t, start(t, r, on(img)), "ls /data/volume"), "volumes are not in snapshots")

	files, err := r.VolumeFS(ctx, "vo-test")
	require.NoError(t, err)
	b, err := fs.ReadFile(files, "dir/file")
	require.NoError(t, err)
	assert.Equal(t, "kept\n", string(b))
	_, err = fs.ReadFile(files, "out")
	assert.Error(t, err, "a link out of the volume")
	_, err = r.VolumeFS(ctx, "vo-none")
	assert.ErrorIs(t, err, runtime.ErrNotFound)
	assert.Error(t, r.CreateVolume(ctx, "../escape"))
}
