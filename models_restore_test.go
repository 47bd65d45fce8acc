package seer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/local"
)

func TestSnapshotKeepsItsModels(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	const id = "acme-labs/Kestrel-7B"
	first := w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	config := seer.SandboxConfig{Models: []seer.ModelConfig{{Name: id}, {Name: "acme-labs/Secret-Kestrel-1B", VarName: "target", Hidden: true}}}
	w.Add(hubtest.Model{ID: "acme-labs/Secret-Kestrel-1B", Files: modelFiles("acme-labs/Secret-Kestrel-1B")})
	on := w.options()
	sandbox := w.start(t, config.Models)
	snapshot, err := sandbox.Snapshot(t.Context(), "with models")
	require.NoError(t, err)
	moved := modelFiles(id)
	moved["config.json"] = []byte(`{"model_type": "newer"}`)
	second := w.Add(hubtest.Model{ID: id, Files: moved})
	require.NotEqual(t, first, second)

	data, err := json.Marshal(snapshot)
	require.NoError(t, err)
	var mailed seer.Snapshot
	require.NoError(t, json.Unmarshal(data, &mailed))
	lastUse := func() (last time.Time) {
		for model, err := range seer.ListModels(t.Context(), on...) {
			require.NoError(t, err)
			if model.Name == id {
				last = model.LastUsed
			}
		}
		return last
	}
	for name, config := range map[string]seer.SandboxConfig{"no models": {}, "the same models": config} {
		before := lastUse()
		restored, err := seer.FromSnapshot(t.Context(), &mailed, config, on...)
		require.NoError(t, err, name)
		assert.Equal(t, sandbox.ModelHandles(), restored.ModelHandles(), name)
		assert.True(t, lastUse().After(before), name)
		got, err := restored.ReadFile(t.Context(), restored.ModelHandles()[0].Path+"/config.json")
		require.NoError(t, err, name)
		assert.Equal(t, modelFiles(id)["config.json"], got, "%s: the commit of the snapshot", name)
		terminate(t, restored)
	}

	for _, handle := range sandbox.ModelHandles() {
		require.NoError(t, os.Truncate(filepath.Join(volumeDir(t, handle.Volume), "model.safetensors"), 5))
	}
	repaired, err := seer.FromSnapshot(t.Context(), &mailed, seer.SandboxConfig{}, on...)
	require.NoError(t, err)
	for _, handle := range repaired.ModelHandles() {
		got, err := repaired.ReadFile(t.Context(), handle.Path+"/model.safetensors")
		require.NoError(t, err)
		assert.Equal(t, modelFiles(id)["model.safetensors"], got, "what was damaged is repaired")
	}
	terminate(t, repaired)

	require.NoError(t, seer.DeleteModel(t.Context(), id, on...))
	restored, err := seer.FromSnapshot(t.Context(), &mailed, seer.SandboxConfig{}, on...)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	assert.Equal(t, sandbox.ModelHandles(), restored.ModelHandles(), "the same commit is downloaded again")
}

// volumeDir is where the local backend keeps a model's volume: the newest of
// that name, as a test program that was killed leaves its own.
func volumeDir(t *testing.T, volume string) string {
	t.Helper()
	state, err := local.StateDir()
	require.NoError(t, err)
	manifests, err := filepath.Glob(filepath.Join(state, "volumes", "*", ".seer", "manifest.json"))
	require.NoError(t, err)
	var dir string
	var newest time.Time
	for _, path := range manifests {
		manifest, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(manifest, []byte(`"`+volume+`"`)) {
			continue // other tests delete theirs
		}
		if info, err := os.Stat(path); err == nil && info.ModTime().After(newest) {
			dir, newest = filepath.Dir(filepath.Dir(path)), info.ModTime()
		}
	}
	require.NotEmpty(t, dir, "no volume %s", volume)
	return dir
}

func TestFromIDKnowsTheModels(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	const id = "acme-labs/Sparrow-7B"
	w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	on := w.options()
	sandbox := w.start(t, []seer.ModelConfig{{Name: id, VarName: "target", Hidden: true}})
	want := sandbox.ModelHandles()

	found, err := seer.FromID(t.Context(), sandbox.SandboxID(), on...)
	require.NoError(t, err)
	handle := found.ModelHandles()[0]
	assert.Empty(t, handle.Name, "only the program that started it knows it")
	assert.Equal(t, want[0].Path, handle.Path)
	snapshot, err := found.Snapshot(t.Context(), "by another program")
	require.NoError(t, err)
	require.NoError(t, found.Close())

	restored, err := seer.FromSnapshot(t.Context(), snapshot, seer.SandboxConfig{}, on...)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	got, err := restored.ReadFile(t.Context(), restored.ModelHandles()[0].Path+"/model.safetensors")
	require.NoError(t, err)
	assert.Equal(t, modelFiles(id)["model.safetensors"], got)
}

func TestKilledDownloadIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	weights := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: map[string][]byte{"config.json": []byte("{}"), "model.safetensors": weights}})
	w.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 512 << 10, Times: 1})
	killed := make(chan error, 1)
	sandbox := w.start(t, []seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}, onceKept(128<<10, func() {
		go func() {
			killed <- seer.TerminateAll(t.Context(), w.server.Sandboxes(), w.options()...)
		}()
	}))
	require.NoError(t, <-killed)
	assert.Equal(t, 3, w.rpcs("SandboxCreate"), "two downloads and the sandbox")
	got, err := sandbox.ReadFile(t.Context(), sandbox.ModelHandles()[0].Path+"/model.safetensors")
	require.NoError(t, err)
	assert.True(t, bytes.Equal(weights, got))
}

func TestCachedModelsAreListedAndDeleted(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	const id = "acme-labs/Sparrow-7B"
	commit := w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	on := w.options()
	sandbox := w.start(t, []seer.ModelConfig{{Name: id}, {Name: id, VarName: "x", Revision: commit}})
	terminate(t, sandbox)

	list := func() (models []seer.CachedModel) {
		for m, err := range seer.ListModels(t.Context(), on...) {
			require.NoError(t, err)
			models = append(models, m)
		}
		return models
	}
	require.Len(t, list(), 1, "the same commit is kept once")
	model := list()[0]
	assert.Equal(t, id, model.Name)
	assert.Equal(t, commit, model.Commit)
	assert.True(t, model.Complete)
	var size int
	for _, data := range modelFiles(id) {
		size += len(data)
	}
	assert.EqualValues(t, size, model.Bytes)
	assert.False(t, model.LastUsed.IsZero())

	require.ErrorIs(t, seer.DeleteModel(t.Context(), "acme-labs/Other", on...), seer.ErrNotFound)
	require.NoError(t, seer.DeleteModel(t.Context(), id, on...))
	assert.Empty(t, list())
	served := w.Served()
	w.start(t, []seer.ModelConfig{{Name: id}})
	assert.Greater(t, w.Served(), served, "what was deleted is downloaded again")
}
