package seer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestFaultsOfModels does the same to a Start that downloads a model, with the
// RPCs that one without models does not make, and the first SandboxCreate,
// which is the download's. Each case has a model of its own, so that all can
// wait side by side. What a Start must survive comes over all RPCs at once; what
// it waits for comes if tests may take long.
func TestFaultsOfModels(t *testing.T) {
	hub := hubtest.NewServer(t)
	running := goleak.IgnoreCurrent()
	var plain, all []seertest.Call
	t.Run("no model", func(t *testing.T) {
		w := hubWorldOn(t, hub)
		w.start(t, nil)
		plain = w.server.Calls()
	})
	t.Run("no fault", func(t *testing.T) { all = hubWorldOn(t, hub).download(t, "no fault", nil, kindOfFault{}) })
	rpcs := []string{"SandboxCreate"}
	for _, rpc := range distinct(all) {
		if !slices.Contains(distinct(plain), rpc) {
			rpcs = append(rpcs, rpc)
		}
	}
	t.Log(strings.Join(rpcs, " "))
	require.Subset(t, rpcs, []string{"SandboxGetLogs", "SandboxStdinWrite", "SandboxTerminate", "VolumeGetOrCreate", "VolumeListFiles2"})

	var cases sync.WaitGroup
	turns := make(chan struct{}, 16)
	run := func(name string, rpcs []string, kind kindOfFault) {
		cases.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			t.Run(name, func(t *testing.T) { hubWorldOn(t, hub).download(t, name, rpcs, kind) })
		})
	}
	for _, kind := range kindsOfFault {
		switch {
		case kind.waits() && !longtest.Wanted():
		case kind.survived:
			run("all "+kind.name, kind.of(rpcs), kind)
		default:
			for _, rpc := range rpcs {
				run(rpc+" "+kind.name, []string{rpc}, kind)
			}
		}
	}
	cases.Wait()
	goleak.VerifyNone(t, running)
}

// download starts a sandbox with a model of its own while RPCs go wrong.
// If that fails, nothing is in the way of the next Start; either has exactly
// what the hub has. The calls are those of the first one.
func (w *hubWorld) download(t *testing.T, name string, rpcs []string, kind kindOfFault) (calls []seertest.Call) {
	t.Helper()
	id := "acme-labs/" + strings.ReplaceAll(name, " ", "-")
	w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	models := []seer.ModelConfig{{Name: id}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, rpc := range rpcs {
		kind.inflict(w.server, rpc)
	}
	if kind.waits() {
		var watching sync.WaitGroup
		defer watching.Wait()
		defer cancel()
		watching.Go(func() { w.giveUpAfter(ctx, rpcs[0], cancel) })
	}
	sandbox, err := w.sandbox(models).Start(ctx)
	w.server.Heal()
	calls = w.server.Calls()
	assert.Subset(t, distinct(calls), rpcs, "not every fault was met")
	if err != nil {
		var failed *seer.StartError
		assert.ErrorAs(t, err, &failed)
		assert.True(t, saysWhy(err, rpcs[0]) || errors.Is(err, context.Canceled), "%v", err)
		assert.False(t, kind.survived, "%v", err)
		if rpcs[0] != "SandboxTerminate" { // without it the download's ends with its command, a moment later
			assert.Empty(t, w.server.Sandboxes(), "left by a failed Start")
		}
		sandbox, err = w.sandbox(models).Start(within(t, patience))
		require.NoError(t, err, "the next Start")
	}
	assert.Eventually(t, func() bool { return len(w.server.Sandboxes()) == 1 }, time.Minute, 10*time.Millisecond,
		"the download's has ended")
	assertModel(t, sandbox.ModelHandles()[0])
	terminate(t, sandbox)
	require.NoError(t, seer.DeleteModel(t.Context(), id, w.options()...))
	return calls
}

// giveUpAfter ends a Start once its RPC has hung for a while.
func (w *hubWorld) giveUpAfter(ctx context.Context, rpc string, giveUp context.CancelFunc) {
	met := time.NewTicker(10 * time.Millisecond)
	defer met.Stop()
	for !slices.Contains(distinct(w.server.Calls()), rpc) {
		select {
		case <-met.C:
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(hurried):
		giveUp()
	case <-ctx.Done():
	}
}

// assertModel compares a volume with what the hub has.
func assertModel(t *testing.T, handle seer.ModelHandle) {
	t.Helper()
	dir := volumeDir(t, handle.Volume) // which a manifest names
	kept := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && rel != filepath.Join(".seer", "manifest.json") {
			kept[rel], err = os.ReadFile(path)
		}
		return err
	}))
	assert.Equal(t, modelFiles(handle.Name), kept)
}
