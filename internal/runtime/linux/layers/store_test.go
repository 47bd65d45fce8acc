//go:build linux

package layers_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// open opens a store as one program does. Later stands for a program that
// starts once the host's packages have changed: privileges tell a state of the
// host from another as well.
func open(t *testing.T, dir string, later bool) *layers.Store {
	t.Helper()
	store, err := layers.Open(dir, (os.Geteuid() == 0) != later, "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	return store
}

func newDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { assert.NoError(t, tree.Remove(dir)) })
	return dir
}

// add makes an image with one more layer than img.
func add(t *testing.T, store *layers.Store, kind layers.Kind, img layers.Image) layers.Image {
	t.Helper()
	building, err := store.NewLayer()
	require.NoError(t, err)
	root, err := building.Part("/")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	made, err := building.Commit(layers.Image{Kind: kind, Layers: img.Layers, Host: img.Host})
	require.NoError(t, err)
	require.NoError(t, building.Remove())
	return made
}

func layersIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "layers"))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestImagesStayWhileTheirHostIsStoodOn has another program open the store
// after the host has changed, while one goes on with what it was.
func TestImagesStayWhileTheirHostIsStoodOn(t *testing.T) {
	dir := newDir(t)
	first := open(t, dir, false)
	host, err := first.HostImage(t.Context())
	require.NoError(t, err)
	built := add(t, first, layers.Built, host)
	base := add(t, first, layers.Built, host)
	running, err := first.NewSandbox("running", base)
	require.NoError(t, err)
	require.NoError(t, first.RemoveImage(base.ID))
	snapshot := add(t, first, layers.Snapshot, running.Image)
	pulled := add(t, first, layers.Pulled, layers.Image{})
	onPulled := add(t, first, layers.Built, pulled)
	kept := slices.Concat(built.Layers, snapshot.Layers, onPulled.Layers)

	later := open(t, dir, true)
	assert.ElementsMatch(t, kept, layersIn(t, dir))
	_, err = later.Image(built.ID)
	require.ErrorIs(t, err, runtime.ErrNotFound, "it is for who stands below it")
	found, err := first.Image(built.ID)
	require.NoError(t, err)
	again, err := first.NewSandbox("again", found)
	require.NoError(t, err)
	require.NoError(t, again.Remove())
	later.Close()

	// A program that has opened the store and asked for nothing yet stands on it as well.
	second := open(t, dir, false)
	require.NoError(t, running.Remove())
	first.Close()
	open(t, dir, true).Close()
	assert.ElementsMatch(t, kept, layersIn(t, dir))
	found, err = second.Image(built.ID)
	require.NoError(t, err)
	_, err = second.HostImage(t.Context())
	require.NoError(t, err)
	box, err := second.NewSandbox("third", found)
	require.NoError(t, err)
	require.NoError(t, box.Remove())
	second.Close()

	later = open(t, dir, true)
	assert.ElementsMatch(t, slices.Concat(snapshot.Layers, onPulled.Layers), layersIn(t, dir),
		"what can be made again goes once nobody stands on it")
	_, err = later.Image(onPulled.ID)
	require.NoError(t, err, "it is complete in itself")
	bases, err := os.ReadDir(filepath.Join(dir, "bases"))
	require.NoError(t, err)
	assert.Empty(t, bases)
	later.Close()

	_, err = open(t, dir, false).Image(snapshot.ID)
	require.NoError(t, err, "the host is as it was")
}

// TestLayersOfASandboxStay has its image go while it runs.
func TestLayersOfASandboxStay(t *testing.T) {
	dir := newDir(t)
	store := open(t, dir, false)
	host, err := store.HostImage(t.Context())
	require.NoError(t, err)
	img := add(t, store, layers.Built, host)
	box, err := store.NewSandbox("box", img)
	require.NoError(t, err)
	mounted := add(t, store, layers.Directory, layers.Image{})
	_, _, err = box.Mount(&mounted, "/mnt")
	require.NoError(t, err)
	for _, id := range []string{img.ID, mounted.ID} {
		require.NoError(t, store.RemoveImage(id))
	}
	open(t, dir, false).Close()
	open(t, dir, true).Close()
	assert.ElementsMatch(t, []string{img.Layers[0], mounted.Layers[0]}, layersIn(t, dir))
	require.NoError(t, box.Remove())
	open(t, dir, false).Close()
	assert.Empty(t, layersIn(t, dir))
}

// TestEndOfASandboxIsNoLeftover has other programs open the store while the
// sandboxes of one end.
func TestEndOfASandboxIsNoLeftover(t *testing.T) {
	dir := newDir(t)
	store := open(t, dir, false)
	img := add(t, store, layers.Pulled, layers.Image{})
	ended := make(chan struct{})
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				other, err := layers.Open(dir, os.Geteuid() == 0, "", slog.New(slog.DiscardHandler))
				if assert.NoError(t, err) {
					other.Close()
				}
			}
		})
	}
	for i := range 100 {
		box, err := store.NewSandbox(fmt.Sprint("box", i), img)
		if assert.NoError(t, err) {
			assert.NoError(t, box.Remove())
		}
	}
	close(ended)
	others.Wait()
	left, err := os.ReadDir(filepath.Join(dir, "sandboxes"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
