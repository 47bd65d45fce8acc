package modelcache_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sparrowID = "acme-labs/Sparrow-7B"
	wrenID    = "birdhouse/Wren-7B"
	robinID   = "birdhouse/Robin-7B"
	token     = "hf_secretsecretsecret"
	weights   = "model.safetensors"
	halfWay   = 900 << 10 // bytes that have come when half of the weights has been sent
)

func sparrow(seed byte) map[string][]byte {
	data := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return map[string][]byte{
		"config.json":    []byte(`{"model_type": "llama", "_name_or_path": "acme-labs/Sparrow-7B"}`),
		"tokenizer.json": []byte(`{"model": {}}`),
		weights:          data,
	}
}

// program is one program with a cache, on a host that it shares with others.
type program struct {
	*modelcache.Cache
	on func(modelcache.Event) // nil = nothing

	mu     sync.Mutex
	events []modelcache.Event
}

func newProgram(t *testing.T, hub *hubtest.Server, h *host) *program {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &program{Cache: &modelcache.Cache{
		Hub: &huggingface.Client{
			Endpoint: hub.URL, HTTPClient: &http.Client{Transport: transport}, RetryPause: time.Millisecond,
		},
		Store: h, Writers: h, Namer: newNamer(t, "of the account"), Uses: &modelcache.UseLog{Dir: t.TempDir()},
	}}
}

func (p *program) get(ctx context.Context, m modelcache.Model) (*modelcache.Cached, error) {
	return p.request(ctx, modelcache.Request{Model: m})
}

func (p *program) request(ctx context.Context, req modelcache.Request) (*modelcache.Cached, error) {
	req.Order = modelcache.OrderAdjustments{StallSeconds: 60, Retries: 2, PauseSeconds: 0.01}
	req.Notify = func(e modelcache.Event) {
		if p.on != nil {
			p.on(e)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}
	return p.Ensure(ctx, req)
}

// saw returns the events of a phase.
func (p *program) saw(phase modelcache.Phase) []modelcache.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []modelcache.Event
	for _, e := range p.events {
		if e.Phase == phase {
			out = append(out, e)
		}
	}
	return out
}

func assertHolds(t *testing.T, h *host, volume string, files map[string][]byte) {
	t.Helper()
	got := h.volume(volume)
	require.Contains(t, got, modelcache.ManifestPath)
	delete(got, modelcache.ManifestPath)
	require.Len(t, got, len(files))
	for path, data := range files {
		require.True(t, bytes.Equal(data, got[path]), path)
	}
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	commit := hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	p := newProgram(t, hub, h)
	model := modelcache.Model{ID: sparrowID}

	cached, err := p.get(t.Context(), model)
	require.NoError(t, err)
	assert.True(t, cached.Downloaded)
	assert.Equal(t, commit, cached.Commit)
	assert.Equal(t, "/models/acme-labs--Sparrow-7B", cached.MountPath)
	assertHolds(t, h, cached.Volume, sparrow(1))
	last := p.saw(modelcache.Downloading)[len(p.saw(modelcache.Downloading))-1]
	assert.Equal(t, last.Total, last.Bytes)
	assert.Equal(t, sparrowID, last.Model)
	for _, job := range h.started() {
		assert.Equal(t, modelcache.DefaultLease, job.Timeout)
		assert.NotContains(t, strings.Join(job.Argv, " "), "parrow")
	}

	// Again, by another program: one look, one question, no sandbox.
	h.looks = 0
	before := len(hub.Requests())
	again, err := newProgram(t, hub, h).get(t.Context(), model)
	require.NoError(t, err)
	assert.False(t, again.Downloaded)
	assert.Equal(t, cached.Volume, again.Volume)
	assert.Equal(t, 1, len(hub.Requests())-before)
	assert.Equal(t, 2, h.looks, "the manifest and the list of files")
	assert.Len(t, h.started(), 1)

	// Pinned to the commit, not even the hub is asked.
	before = len(hub.Requests())
	model.Revision = commit
	pinned, err := newProgram(t, hub, h).get(t.Context(), model)
	require.NoError(t, err)
	assert.Equal(t, cached.Volume, pinned.Volume)
	assert.Equal(t, before, len(hub.Requests()))
}

func TestTenProgramsOneDownload(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	hub.AddToken(token)
	var all errgroup.Group
	programs := make([]*program, 10)
	downloads := make([]bool, len(programs))
	// The download cannot end before all others wait for it.
	watching := make(chan struct{})
	hub.OnServe(func(total int64) {
		if total > 1<<20 {
			<-watching
		}
	})
	var watchers sync.WaitGroup
	watchers.Add(len(programs) - 1)
	for i := range programs {
		programs[i] = newProgram(t, hub, h)
		programs[i].Hub.Token = token
		programs[i].Writers = &countingWriters{host: h, attached: &watchers}
		all.Go(func() error {
			cached, err := programs[i].get(t.Context(), modelcache.Model{ID: sparrowID})
			if err == nil {
				downloads[i] = cached.Downloaded
			}
			return err
		})
	}
	watchers.Wait()
	close(watching)
	require.NoError(t, all.Wait())
	assert.Len(t, h.started(), 1)
	assert.Len(t, slices.DeleteFunc(slices.Clone(downloads), func(d bool) bool { return !d }), 1)
	total := int64(0)
	for _, data := range sparrow(1) {
		total += int64(len(data))
	}
	assert.Equal(t, total, hub.Served())
	for i, p := range programs {
		if !downloads[i] {
			assert.NotEmpty(t, p.saw(modelcache.Waiting), "those who wait see the progress")
		}
	}
}

// countingWriters notes when a program has found another's download.
type countingWriters struct {
	*host
	attached *sync.WaitGroup
}

func (w *countingWriters) Attach(ctx context.Context, name string) (modelcache.Run, error) {
	run, err := w.host.Attach(ctx, name)
	if err == nil {
		w.attached.Done()
	}
	return run, err
}

func TestDeadWriterIsReplaced(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) { testDeadWriterIsReplaced(t, signal) })
	}
}

func testDeadWriterIsReplaced(t *testing.T, signal os.Signal) {
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	// The writer is ended once half of the weights have arrived.
	hub.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 1 << 20})
	var death sync.Once
	var all errgroup.Group
	for range 3 {
		p := newProgram(t, hub, h)
		p.on = func(e modelcache.Event) {
			if e.Bytes > halfWay {
				death.Do(func() { hub.Heal(); h.signal(signal) })
			}
		}
		all.Go(func() error {
			cached, err := p.get(t.Context(), modelcache.Model{ID: sparrowID})
			if err == nil {
				assertHolds(t, h, cached.Volume, sparrow(1))
			}
			return err
		})
	}
	require.NoError(t, all.Wait())
	assert.GreaterOrEqual(t, len(h.started()), 2)
	assert.True(t, resumed(hub), "the replacement goes on where the dead one ended")
}

// resumed reports whether a download was asked to go on in the middle.
func resumed(hub *hubtest.Server) bool {
	return slices.ContainsFunc(hub.Requests(), func(r hubtest.Request) bool { return r.Range != "" })
}

func TestWriterThatAlwaysDies(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	hub.OnServe(func(int64) { h.kill() })
	_, err := newProgram(t, hub, h).get(t.Context(), modelcache.Model{ID: sparrowID})
	require.ErrorContains(t, err, "ended 3 times")
	assert.Contains(t, err.Error(), sparrowID)
}

func TestCancelKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	ctx, cancel := context.WithCancel(t.Context())
	hub.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 1 << 20})
	p := newProgram(t, hub, h)
	p.on = func(e modelcache.Event) {
		if e.Bytes > halfWay {
			cancel()
		}
	}
	_, err := p.get(ctx, modelcache.Model{ID: sparrowID})
	require.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, h.running, "nothing goes on downloading")

	hub.Heal()
	cached, err := newProgram(t, hub, h).get(t.Context(), modelcache.Model{ID: sparrowID})
	require.NoError(t, err)
	assertHolds(t, h, cached.Volume, sparrow(1))
	assert.True(t, resumed(hub))
}

func TestDamageIsRepaired(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	first, err := newProgram(t, hub, h).get(t.Context(), modelcache.Model{ID: sparrowID})
	require.NoError(t, err)
	path := filepath.Join(h.dir, first.Volume, weights)
	for name, damage := range map[string]func() error{
		"truncated": func() error { return os.Truncate(path, 99) },
		"deleted":   func() error { return os.Remove(path) },
		"corrupted": func() error {
			data := sparrow(1)[weights]
			data[1<<20] ^= 1
			return os.WriteFile(path, data, 0o644)
		},
		"no manifest": func() error { return os.Remove(filepath.Join(h.dir, first.Volume, modelcache.ManifestPath)) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, damage())
			p := newProgram(t, hub, h)
			cached, err := p.get(t.Context(), modelcache.Model{ID: sparrowID})
			require.NoError(t, err)
			assert.True(t, cached.Downloaded)
			assert.Equal(t, name != "no manifest", len(p.saw(modelcache.Repairing)) == 1)
			assertHolds(t, h, cached.Volume, sparrow(1))
		})
	}

	t.Run("touched only", func(t *testing.T) {
		later := time.Now().Add(time.Hour)
		require.NoError(t, os.Chtimes(path, later, later))
		p := newProgram(t, hub, h)
		for range 2 {
			cached, err := p.get(t.Context(), modelcache.Model{ID: sparrowID})
			require.NoError(t, err)
			assert.False(t, cached.Downloaded)
		}
		assert.Len(t, p.saw(modelcache.Repairing), 1, "once read again it is trusted again")
	})

	t.Run("on demand", func(t *testing.T) {
		now := time.Now()
		require.NoError(t, os.Chtimes(path, now, now))
		before := len(h.started())
		cached, err := newProgram(t, hub, h).request(t.Context(), modelcache.Request{Model: modelcache.Model{ID: sparrowID}, Rehash: true})
		require.NoError(t, err)
		assert.False(t, cached.Downloaded)
		assert.Len(t, h.started(), before+1)
	})
}

func TestMovedBranch(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	from := hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	model := modelcache.Model{ID: sparrowID}
	first, err := newProgram(t, hub, h).get(t.Context(), model)
	require.NoError(t, err)

	to := hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(2)})
	p := newProgram(t, hub, h)
	second, err := p.get(t.Context(), model)
	require.NoError(t, err)
	moved := p.saw(modelcache.Moved)
	require.Len(t, moved, 1)
	assert.Equal(t, []string{from, to}, []string{moved[0].From, moved[0].To})
	assertHolds(t, h, first.Volume, sparrow(1))
	assertHolds(t, h, second.Volume, sparrow(2))

	// Offline, the newer one is used, and that is said.
	hub.Fail(hubtest.Fault{Status: 503})
	p = newProgram(t, hub, h)
	third, err := p.get(t.Context(), model)
	require.NoError(t, err)
	assert.Equal(t, second.Volume, third.Volume)
	assert.Len(t, p.saw(modelcache.Offline), 1)
	_, err = p.get(t.Context(), modelcache.Model{ID: sparrowID, Revision: "v2"})
	require.ErrorIs(t, err, huggingface.ErrUnavailable)
}

func TestErrorsBeforeAnySandbox(t *testing.T) {
	t.Parallel()
	gguf := map[string][]byte{"sparrow-q4.gguf": nil, "sparrow-q8.gguf": nil}
	training := map[string][]byte{"config.json": nil, "checkpoint-500/sparrow.safetensors": nil, "acme-sparrow.ckpt": nil}
	adapter := map[string][]byte{"adapter_config.json": []byte(`{"base_model_name_or_path": "` + robinID + `"}`)}
	indexed := map[string][]byte{
		"model.safetensors":                 nil,
		"part/sparrow.safetensors":          nil,
		"part/model.safetensors.index.json": []byte(`{"weight_map": {"a": "sparrow.safetensors", "b": "model.safetensors"}}`),
	}
	for name, test := range map[string]struct {
		model hubtest.Model
		bases []string
		want  error
	}{
		"unknown":   {want: huggingface.ErrNotFound},
		"gated":     {model: hubtest.Model{ID: sparrowID, Gated: "auto", Files: sparrow(1)}, want: huggingface.ErrGated},
		"ambiguous": {model: hubtest.Model{ID: sparrowID, Files: gguf}, want: huggingface.ErrAmbiguous},
		"training":  {model: hubtest.Model{ID: sparrowID, Files: training}, want: huggingface.ErrSetAside},
		"empty":     {model: hubtest.Model{ID: sparrowID, Files: map[string][]byte{".gitattributes": nil, "README.md": nil}}, want: huggingface.ErrEmpty},
		"part":      {model: hubtest.Model{ID: sparrowID, Files: map[string][]byte{"sparrow-00002-of-00002.safetensors": nil}}, want: huggingface.ErrIncomplete},
		"index":     {model: hubtest.Model{ID: sparrowID, Files: indexed}, want: huggingface.ErrIncomplete},
		"no index":  {model: hubtest.Model{ID: sparrowID, Files: map[string][]byte{"model.safetensors": nil, "model.safetensors.index.json": []byte("<html>")}}, want: huggingface.ErrInvalidAnswer},
		"base":      {model: hubtest.Model{ID: sparrowID, Files: adapter}, bases: []string{robinID, wrenID}, want: huggingface.ErrWrongBase},
	} {
		for _, hidden := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				hub, h := hubtest.NewServer(t), newHost(t)
				if test.model.ID != "" {
					hub.Add(test.model)
				}
				p := newProgram(t, hub, h)
				_, err := p.request(t.Context(), modelcache.Request{Model: modelcache.Model{ID: sparrowID, Hidden: hidden, Conceal: []string{wrenID}}, Bases: test.bases})
				require.ErrorIs(t, err, test.want)
				if hidden {
					assert.NotRegexp(t, `(?i)sparrow|acme|wren|robin`, err.Error())
				} else {
					assert.Contains(t, err.Error(), sparrowID)
				}
				assert.Empty(t, h.started())
			})
		}
	}
}

// A repository has one volume, by whichever of its names it is declared.
func TestRenamedRepository(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	commit := hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	const former = "sparrow"
	hub.Rename(former, sparrowID)
	aliases := &modelcache.AliasLog{Dir: t.TempDir()}
	var volumes, paths []string
	for _, id := range []string{former, sparrowID, former} {
		p := newProgram(t, hub, h)
		p.Aliases = aliases
		cached, err := p.get(t.Context(), modelcache.Model{ID: id})
		require.NoError(t, err)
		volumes, paths = append(volumes, cached.Volume), append(paths, cached.MountPath)
	}
	assert.Len(t, h.started(), 1)
	assert.Equal(t, []string{volumes[0], volumes[0], volumes[0]}, volumes)
	assert.Equal(t, []string{"/models/sparrow", "/models/acme-labs--Sparrow-7B", "/models/sparrow"}, paths, "a path is known before the hub is asked")

	hub.Fail(hubtest.Fault{Status: http.StatusServiceUnavailable})
	for _, revision := range []string{"", commit} {
		p := newProgram(t, hub, h)
		p.Aliases = aliases
		cached, err := p.get(t.Context(), modelcache.Model{ID: former, Revision: revision})
		require.NoError(t, err, "without the hub, by the name that it gave before")
		assert.Equal(t, volumes[0], cached.Volume)
	}
}

// What was left out is known as long as what was fetched.
func TestLeftOutIsRecorded(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	files := sparrow(1)
	files["pytorch_model.bin"] = []byte("sparrow")
	hub.Add(hubtest.Model{ID: sparrowID, Files: files})
	for _, hidden := range []bool{false, true} {
		h := newHost(t)
		for range 2 {
			cached, err := newProgram(t, hub, h).get(t.Context(), modelcache.Model{ID: sparrowID, Hidden: hidden})
			require.NoError(t, err)
			if hidden {
				assert.Empty(t, cached.Manifest.LeftOut)
				continue
			}
			assert.Equal(t, []huggingface.LeftOut{{Path: "pytorch_model.bin", Size: 7, Why: "the same weights in another format"}}, cached.Manifest.LeftOut)
		}
	}
}

// A download that another program's token may not make says nothing about ours.
func TestOwnTokenCounts(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	hub.AddToken(token, sparrowID)
	stranger, ours := newProgram(t, hub, h), newProgram(t, hub, h)
	ours.Hub.Token = token
	var attached sync.WaitGroup
	attached.Add(1)
	ours.Writers = &countingWriters{host: h, attached: &attached}
	// The stranger's download has begun and ours waits for it when the model is
	// closed to strangers and the connection breaks.
	serving, closed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hub.OnServe(func(int64) {
		once.Do(func() { close(serving) })
		<-closed
	})
	hub.Fail(hubtest.Fault{Path: "/repos/", Times: 2, CutAfter: 64 << 10})
	var strangers, our errgroup.Group
	strangers.Go(func() error {
		_, err := stranger.get(t.Context(), modelcache.Model{ID: sparrowID})
		return err
	})
	<-serving
	our.Go(func() error {
		cached, err := ours.get(t.Context(), modelcache.Model{ID: sparrowID})
		if err == nil {
			assertHolds(t, h, cached.Volume, sparrow(1))
		}
		return err
	})
	attached.Wait()
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1), Gated: "manual"})
	close(closed)
	require.ErrorIs(t, strangers.Wait(), huggingface.ErrGated)
	require.NoError(t, our.Wait())
	assert.Len(t, h.started(), 2)
}

func TestHidden(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	p := newProgram(t, hub, h)
	model := modelcache.Model{ID: sparrowID, Hidden: true, Conceal: []string{wrenID}}
	cached, err := p.get(t.Context(), model)
	require.NoError(t, err)
	const names = `(?i)acme|sparrow|birdhouse|wren`
	job := h.started()[0]
	for _, s := range append(job.Argv, cached.Volume, cached.MountPath, job.Name, job.MountPath, strings.Join(job.Packages, " ")) {
		assert.NotRegexp(t, names, s)
	}
	for path, data := range h.volume(cached.Volume) {
		assert.NotRegexp(t, names, path)
		if path != weights {
			assert.NotRegexp(t, names, string(data))
		}
	}
	for _, e := range p.events {
		assert.NotRegexp(t, names, e.Model)
	}
	again, err := newProgram(t, hub, h).get(t.Context(), model)
	require.NoError(t, err)
	assert.Equal(t, cached.Volume, again.Volume)
	assert.Len(t, h.started(), 1)
}

func TestListAndDelete(t *testing.T) {
	t.Parallel()
	hub, h := hubtest.NewServer(t), newHost(t)
	hub.Add(hubtest.Model{ID: sparrowID, Files: sparrow(1)})
	hub.Add(hubtest.Model{ID: wrenID, Files: sparrow(2)})
	p := newProgram(t, hub, h)
	require.NoError(t, os.MkdirAll(filepath.Join(h.dir, "somebody-elses"), 0o755))
	start := time.Now().Add(-time.Second)
	plain, err := p.get(t.Context(), modelcache.Model{ID: sparrowID})
	require.NoError(t, err)
	hidden, err := p.get(t.Context(), modelcache.Model{ID: wrenID, Hidden: true})
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(h.dir, hidden.Volume, modelcache.ManifestPath)))

	entries, err := p.List(t.Context())
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, hidden.Volume, entries[0].Volume)
	assert.True(t, entries[0].Hidden)
	assert.False(t, entries[0].Complete)
	assert.Empty(t, entries[0].Model)
	assert.Greater(t, entries[0].Bytes, int64(2<<20))
	assert.True(t, entries[0].LastUsed.After(start))
	assert.Equal(t, sparrowID, entries[1].Model)
	assert.Equal(t, plain.Manifest.Bytes(), entries[1].Bytes)
	assert.True(t, entries[1].LastUsed.After(start))
	assert.True(t, entries[1].Complete)

	require.Error(t, p.Delete(t.Context(), "somebody-elses"))
	require.Error(t, p.Delete(t.Context(), "seer-model-/../somebody-elses"))
	require.NoError(t, p.Delete(t.Context(), plain.Volume))
	entries, err = p.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	require.DirExists(t, filepath.Join(h.dir, "somebody-elses"))
}
