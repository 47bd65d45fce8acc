package seer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// hubWorld is a hub and a backend whose sandboxes reach it.
type hubWorld struct {
	*hubtest.Server
	server  *seertest.Server
	envFile string
}

func newHubWorld(t *testing.T) *hubWorld {
	t.Helper()
	return hubWorldOn(t, hubtest.NewServer(t))
}

// hubWorldOn has a hub that other worlds use too.
func hubWorldOn(t *testing.T, hub *hubtest.Server) *hubWorld {
	t.Helper()
	server := seertest.NewServer(t, seertest.AllowHost(strings.TrimPrefix(hub.URL, "http://"), strings.TrimPrefix(hub.CDNURL, "http://")))
	w := &hubWorld{Server: hub, server: server, envFile: filepath.Join(t.TempDir(), ".env")}
	w.setEnv(t, hub.URL, "")
	return w
}

// setEnv says where the hub is, and who asks it.
func (w *hubWorld) setEnv(t *testing.T, endpoint, token string) {
	t.Helper()
	require.NoError(t, os.WriteFile(w.envFile, fmt.Appendf(nil, "HF_ENDPOINT=%s\nHF_TOKEN=%s\n", endpoint, token), 0o600))
}

func (w *hubWorld) env() seer.Option { return seer.WithEnvFile(w.envFile) }

func (w *hubWorld) options(more ...seer.Option) []seer.Option {
	return append([]seer.Option{seer.WithBackend(w.server.Backend()), w.env()}, more...)
}

func (w *hubWorld) sandbox(models []seer.ModelConfig, opts ...seer.Option) *seer.Sandbox {
	// Nothing is loaded here: the real peft would bring all of torch.
	config := seer.SandboxConfig{Models: models, PythonPackages: []string{"peft; python_version < '3'"}}
	return seer.NewSandbox(config, w.options(opts...)...)
}

func (w *hubWorld) start(t *testing.T, models []seer.ModelConfig, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	sandbox, err := w.sandbox(models, opts...).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, sandbox) })
	return sandbox
}

// rpcs counts the calls of an RPC.
func (w *hubWorld) rpcs(name string) int {
	count := 0
	for _, call := range w.server.Calls() {
		if call.RPC == name {
			count++
		}
	}
	return count
}

// modelFiles are a model's in small: of the real ones, the names and the kinds.
func modelFiles(id string) map[string][]byte {
	return map[string][]byte{
		"config.json":       fmt.Appendf(nil, `{"model_type": "gemma2", "_name_or_path": %q}`, id),
		"model.safetensors": bytes.Repeat([]byte("weights "), 4000),
		"README.md":         fmt.Appendf(nil, "# %s\n", id),
	}
}

// events collects what Start reports.
type events struct {
	mu  sync.Mutex
	all []seer.Event
}

func (e *events) option() seer.Option {
	return seer.WithProgress(e.add)
}

func (e *events) add(event seer.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) of(step string, kind seer.EventKind) []seer.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.all), func(event seer.Event) bool { return event.Step != step || event.Kind != kind })
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%+v", e.all)
}

// onceKept calls f when so many bytes of a model are on its volume.
func onceKept(bytes int64, f func()) seer.Option {
	call := sync.OnceFunc(f)
	return seer.WithProgress(func(event seer.Event) {
		if event.Kind == seer.EventProgress && event.Done >= bytes {
			call()
		}
	})
}

func TestModelIsDownloadedOnce(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	commit := w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: modelFiles("acme-labs/Sparrow-7B")})
	models := []seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}

	var first, second events
	sandbox := w.start(t, models, first.option())
	require.Len(t, sandbox.ModelHandles(), 1)
	handle := sandbox.ModelHandles()[0]
	assert.Equal(t, "acme-labs/Sparrow-7B", handle.Name)
	assert.Equal(t, "model", handle.VarName)
	assert.Equal(t, "/models/acme-labs--Sparrow-7B", handle.Path)
	assert.Equal(t, commit, handle.Revision)
	assert.ElementsMatch(t, []string{"README.md", "config.json", "model.safetensors"}, handle.Files)
	for name, want := range modelFiles(handle.Name) {
		got, err := sandbox.ReadFile(t.Context(), handle.Path+"/"+name)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	_, err := sandbox.Exec(t.Context(), "echo poison > "+handle.Path+"/config.json")
	require.ErrorContains(t, err, "Read-only file system")
	progress := first.of("download acme-labs/Sparrow-7B", seer.EventProgress)
	require.NotEmpty(t, progress)
	last := progress[len(progress)-1]
	assert.Equal(t, last.Total, last.Done)
	assert.Positive(t, last.Total)

	served, created, before := w.Served(), w.rpcs("SandboxCreate"), len(w.server.Calls())
	assert.Equal(t, 2, created, "the download's and the sandbox itself")
	again := w.start(t, models, second.option())
	golden(t, filepath.Join("testdata", "wire", "models.txtar"), wireOf(t, w.server.Calls()[before:]))
	assert.Equal(t, sandbox.ModelHandles(), again.ModelHandles())
	assert.Equal(t, served, w.Served(), "nothing is downloaded twice")
	assert.Equal(t, created+1, w.rpcs("SandboxCreate"), "no sandbox to find that out")
	done := second.of("download acme-labs/Sparrow-7B", seer.EventDone)
	require.Len(t, done, 1)
	assert.Equal(t, "cached", done[0].Text)
}

func TestGatedModelFailsBeforeAnySandbox(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	w.Add(hubtest.Model{ID: "acme-labs/Closed-1B", Files: modelFiles("x"), Gated: "manual"})
	_, err := w.sandbox([]seer.ModelConfig{{Name: "acme-labs/Closed-1B"}}).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrGatedModel)
	assert.ErrorContains(t, err, w.URL+"/acme-labs/Closed-1B")
	assert.ErrorContains(t, err, "HF_TOKEN")
	var step *seer.StartError
	require.ErrorAs(t, err, &step)
	assert.Equal(t, "download acme-labs/Closed-1B", step.Step)

	_, err = w.sandbox([]seer.ModelConfig{{Name: "acme-labs/No-Such"}}).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.ErrorContains(t, err, "acme-labs/No-Such")
	assert.Zero(t, w.rpcs("SandboxCreate"))
}

func TestTokenReachesTheDownloadAlone(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	const id, token = "acme-labs/Closed-1B", "hf_abcdefghijklmnopqrstuvwxyz"
	w.Add(hubtest.Model{ID: id, Files: modelFiles(id), Gated: "manual"})
	w.AddToken(token, id)
	w.setEnv(t, w.URL, token)
	var said events
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sandbox := w.start(t, []seer.ModelConfig{{Name: id}}, said.option(), seer.WithLogger(logger))
	assert.Empty(t, findNames(t, sandbox, squeezed(token)), "neither the sandbox nor the volume has it")
	assert.NotContains(t, said.String()+log.String(), token)
	for _, r := range w.Requests() {
		assert.Equal(t, !r.CDN, r.Authorization == "Bearer "+token, "%s %s", r.Method, r.Path)
	}

	config := seer.SandboxConfig{Secrets: []string{"HF_TOKEN"}}
	asked := startOn(t, w.server, config, w.env())
	out, err := asked.Exec(t.Context(), "printenv HF_TOKEN")
	require.NoError(t, err)
	assert.Equal(t, token+"\n", out, "unless the user lists it")
}

func TestConcurrentStartsShareOneDownload(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: modelFiles("acme-labs/Sparrow-7B")})
	var mu sync.Mutex
	var all []*seer.Sandbox
	group, ctx := errgroup.WithContext(t.Context())
	for range 10 {
		group.Go(func() error {
			sandbox, err := w.sandbox([]seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}).Start(ctx)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, sandbox)
			return nil
		})
	}
	err := group.Wait()
	for _, sandbox := range all {
		terminate(t, sandbox)
	}
	require.NoError(t, err)
	gets := 0
	for _, r := range w.Requests() {
		if r.CDN && r.Method == "GET" {
			gets++
		}
	}
	assert.Equal(t, 1, gets, "the weights were fetched once")
}

func TestCancelledDownloadGoesOn(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	weights := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: map[string][]byte{"config.json": []byte("{}"), "model.safetensors": weights}})
	w.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 512 << 10, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	models := []seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}
	_, err := w.sandbox(models, onceKept(128<<10, cancel)).Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, w.server.Sandboxes(), "no download runs on")

	sandbox := w.start(t, models)
	out, err := sandbox.Exec(t.Context(), "stat -c %s "+sandbox.ModelHandles()[0].Path+"/model.safetensors")
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintln(len(weights)), out)
	var rest string
	for _, r := range w.Requests() {
		if r.CDN && r.Range != "" {
			rest = r.Range
		}
	}
	assert.NotEmpty(t, rest, "the second download asked for the rest only")
}

func TestFailingHubLeavesNoSandbox(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: modelFiles("acme-labs/Sparrow-7B")})
	w.Fail(hubtest.Fault{Path: "/repos/", Status: 403})
	_, err := w.sandbox([]seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}).Start(t.Context())
	require.Error(t, err)
	assert.ErrorContains(t, err, "acme-labs/Sparrow-7B")
	assert.Empty(t, w.server.Sandboxes())
	var start *seer.StartError
	assert.True(t, errors.As(err, &start))
}

func TestWithoutTheHubOnlyWhatIsCached(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	commit := w.Add(hubtest.Model{ID: "acme-labs/Sparrow-7B", Files: modelFiles("acme-labs/Sparrow-7B")})
	cached := []seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}}
	want := w.start(t, cached).ModelHandles()
	created := w.rpcs("SandboxCreate")

	w.setEnv(t, "http://127.0.0.1:1", "") // where nothing listens
	var said events
	var failing errgroup.Group
	for _, model := range []seer.ModelConfig{
		{Name: "acme-labs/Wren-2B"},
		{Name: "acme-labs/Wren-2B", Hidden: true},
		{Name: "acme-labs/Sparrow-7B", Revision: "v2"},
	} {
		failing.Go(func() error {
			_, err := w.sandbox([]seer.ModelConfig{model}).Start(t.Context())
			assert.ErrorIs(t, err, seer.ErrHubUnreachable)
			name := `"` + model.Name + `"`
			if model.Hidden {
				name = "hidden model"
				assert.NotContains(t, fmt.Sprint(err), "Wren")
			}
			assert.ErrorContains(t, err, name)
			return nil
		})
	}
	assert.Equal(t, want, w.start(t, cached, said.option()).ModelHandles())
	notes := said.of("download acme-labs/Sparrow-7B", seer.EventOutput)
	require.Len(t, notes, 1)
	assert.Equal(t, "the hub cannot be asked: using what is cached, "+commit[:12], notes[0].Text)
	require.NoError(t, failing.Wait())
	assert.Equal(t, created+1, w.rpcs("SandboxCreate"), "none for what is not there")
}

// Who looks for a volume at the same time shares the answer, unless it is only
// that the one who asked gave up.
func TestWhoGivesUpALookupDoesNotEndThatOfOthers(t *testing.T) {
	server := seertest.NewServer(t)
	client := clientOf(t, server)
	volume, err := client.Volume(t.Context(), "weights", true)
	require.NoError(t, err)
	store := seer.NewModelStore(client)
	asked := func() int { return callsByRPC(server.Calls())["VolumeGetOrCreate"] }
	before := asked()
	server.Stall("VolumeGetOrCreate", 1)
	ctx, giveUp := context.WithCancel(within(t, patience))
	var asking, others sync.WaitGroup
	asking.Go(func() {
		_, err := store.Files(ctx, volume.Name)
		assert.ErrorIs(t, err, context.Canceled)
	})
	require.Eventually(t, func() bool { return asked() > before }, patience, time.Millisecond)
	for range 8 {
		others.Go(func() {
			_, err := store.Files(within(t, patience), volume.Name)
			assert.NoError(t, err)
		})
	}
	time.Sleep(50 * time.Millisecond) // until they wait; nothing tells
	giveUp()
	asking.Wait()
	others.Wait()
	assert.Equal(t, before+2, asked(), "one of the others asks for all of them")
}
