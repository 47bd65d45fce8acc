package huggingface_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// download is one order for the downloader, and the directory that stands for
// the volume.
type download struct {
	t     testing.TB
	order huggingface.Order
}

// newDownload resolves a model and makes an order for all its files.
func newDownload(t testing.TB, hub *hubtest.Server, id, token string) *download {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &huggingface.Client{Endpoint: hub.URL, Token: token, HTTPClient: &http.Client{Transport: transport}}
	repo, err := client.Resolve(t.Context(), id, "")
	require.NoError(t, err)
	return &download{t, huggingface.Order{
		Endpoint: hub.URL, Token: token, Repo: id, Commit: repo.Commit, Revision: "main", Volume: "test-volume",
		Root: t.TempDir(), Files: repo.Files, StallSeconds: 1, Retries: 3, PauseSeconds: 0.01,
	}}
}

// start runs the downloader as a sandbox would.
func (d *download) start(ctx context.Context) *exec.Cmd {
	d.t.Helper()
	line, err := d.order.Line()
	require.NoError(d.t, err)
	argv := huggingface.Downloader()
	python := venvtest.Python(d.t, huggingface.DownloaderPackages()...)
	cmd := exec.CommandContext(ctx, python, argv[1:]...)
	cmd.Stdin = bytes.NewReader(line)
	// Nothing of this program's environment: not its token, not its caches.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.t.TempDir(), "TMPDIR=" + d.t.TempDir(), "HF_TOKEN=hf_of_somebody_else"}
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// run runs the downloader to its end and returns its last report.
func (d *download) run() huggingface.Report {
	d.t.Helper()
	last, _ := d.runAll()
	return last
}

func (d *download) runAll() (last huggingface.Report, all []huggingface.Report) {
	d.t.Helper()
	cmd := d.start(d.t.Context())
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(d.t, err)
	}
	assert.Empty(d.t, cmd.Stderr.(*bytes.Buffer).String()) //nolint:errcheck // start made it one
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		report, ok := huggingface.ParseReport(lines.Bytes())
		require.True(d.t, ok, lines.Text())
		all = append(all, report)
	}
	require.NotEmpty(d.t, all)
	last = all[len(all)-1]
	assert.Equal(d.t, err == nil, last.Event == "done")
	return last, all
}

// holds asserts that the volume holds exactly the hub's bytes and a manifest.
func (d *download) holds(files map[string][]byte) {
	d.t.Helper()
	got := d.tree()
	require.Contains(d.t, got, ".seer/manifest.json")
	delete(got, ".seer/manifest.json")
	require.Len(d.t, got, len(files))
	for path, data := range files {
		require.True(d.t, bytes.Equal(data, got[path]), path)
	}
}

func (d *download) tree() map[string][]byte {
	d.t.Helper()
	got := map[string][]byte{}
	require.NoError(d.t, fs.WalkDir(os.DirFS(d.order.Root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(d.order.Root, path))
		got[path] = data
		return err
	}))
	return got
}

func (d *download) path(name string) string { return filepath.Join(d.order.Root, name) }

// large is a model whose weights take the server many pieces to send.
func large() map[string][]byte {
	random := rand.NewChaCha8([32]byte{7})
	weights := func(size int) []byte {
		data := make([]byte, size)
		_, _ = random.Read(data)
		return data
	}
	return map[string][]byte{
		"config.json":                      []byte(`{"model_type": "llama"}`),
		"tokenizer.json":                   []byte(`{"model": {}}`),
		"empty.txt":                        {},
		"sub/dir/vocab.txt":                []byte("a\nb\n"),
		"model-00001-of-00002.safetensors": weights(3 << 20),
		"model-00002-of-00002.safetensors": weights(1<<20 + 17),
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	hub.AddToken(secret, modelID)
	files := large()
	commit := hub.Add(hubtest.Model{ID: modelID, Gated: "manual", Files: files})
	d := newDownload(t, hub, modelID, secret)
	last, all := d.runAll()
	require.NoError(t, last.Err(), last.Message)
	d.holds(files)
	assert.Zero(t, all[0].Bytes)
	assert.Equal(t, huggingface.Bytes(d.order.Files), last.Total)
	assert.Equal(t, last.Total, last.Bytes)
	assert.Equal(t, 6, last.Files)
	assert.False(t, last.Cached)

	var manifest struct {
		Format                          int
		Model, Commit, Revision, Volume string
		Files                           []huggingface.File
	}
	require.NoError(t, json.Unmarshal(d.tree()[".seer/manifest.json"], &manifest))
	assert.Equal(t, 1, manifest.Format)
	assert.Equal(t, []string{modelID, commit, "main", "test-volume"}, []string{manifest.Model, manifest.Commit, manifest.Revision, manifest.Volume})
	assert.Len(t, manifest.Files, 6)
	for path, data := range d.tree() {
		assert.NotContains(t, string(data), secret, path)
	}
	for _, r := range hub.Requests() {
		want := "Bearer " + secret
		if r.CDN {
			want = ""
		}
		assert.Equal(t, want, r.Authorization, "%s %s", r.Method, r.Path)
	}

	before := len(hub.Requests())
	last = d.run()
	assert.True(t, last.Cached)
	assert.Len(t, hub.Requests(), before, "a complete volume asks the hub nothing")
}

func TestDownloadRepairs(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	files := large()
	hub.Add(hubtest.Model{ID: modelID, Files: files})
	d := newDownload(t, hub, modelID, "")
	require.NoError(t, d.run().Err())
	const weights = "model-00002-of-00002.safetensors"

	corrupt := func() {
		data := bytes.Clone(files[weights])
		data[len(data)/2] ^= 1
		require.NoError(t, os.WriteFile(d.path(weights), data, 0o644))
	}
	for name, damage := range map[string]func(){
		"truncated": func() { require.NoError(t, os.Truncate(d.path(weights), 1000)) },
		"deleted":   func() { require.NoError(t, os.Remove(d.path(weights))) },
		"corrupted": func() { corrupt(); d.order.Rehash = true },
		"corrupted, no manifest": func() {
			corrupt()
			require.NoError(t, os.Remove(d.path(".seer/manifest.json")))
		},
		"manifest of another volume": func() {
			corrupt()
			data := bytes.Replace(d.tree()[".seer/manifest.json"], []byte("test-volume"), []byte("some-volume"), 1)
			require.NoError(t, os.WriteFile(d.path(".seer/manifest.json"), data, 0o644))
		},
		"half a manifest": func() { corrupt(); require.NoError(t, os.Truncate(d.path(".seer/manifest.json"), 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			d.order.Rehash = false
			damage()
			before := hub.Served()
			last := d.run()
			require.NoError(t, last.Err(), last.Message)
			d.holds(files)
			assert.EqualValues(t, len(files[weights]), hub.Served()-before, "only what was damaged comes again")
		})
	}
}

// Killed at any byte, the next run goes on and ends with the hub's bytes.
func TestDownloadKilled(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		hub := hubtest.NewServer(t)
		hub.Add(hubtest.Model{ID: modelID, Files: large()})
		killOften(t, hub, newDownload(t, hub, modelID, ""), large())
	})
	t.Run("in pieces", func(t *testing.T) {
		t.Parallel()
		hub := hubtest.NewServer(t)
		hub.Add(hubtest.Model{ID: modelID, Files: large()})
		killOften(t, hub, inPieces(newDownload(t, hub, modelID, "")), large())
	})
	t.Run("hidden", func(t *testing.T) {
		t.Parallel()
		files := large()
		maps.Copy(files, telltale(t))
		hub, undisturbed := conceal(t, files)
		require.NoError(t, undisturbed.run().Err())
		want := undisturbed.tree()
		delete(want, ".seer/manifest.json")
		d := newDownload(t, hub, hiddenID, "")
		d.order.Conceal = undisturbed.order.Conceal
		killOften(t, hub, d, want)
	})
}

// killOften kills downloads at any moment, every other pair once part of a file is on disk.
func killOften(t *testing.T, hub *hubtest.Server, d *download, want map[string][]byte) {
	t.Helper()
	d.order.Workers = 2
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same points every time
	enough := 4
	if longtest.Wanted() {
		enough = 12
	}
	for kills := 0; kills < enough; {
		ctx, kill := context.WithCancel(t.Context())
		begun := kills%4 >= 2
		limit := hub.Served() + random.Int64N(500<<10)
		if begun {
			limit = hub.Served() + 300<<10 // of two files: one of them has two pieces, and one piece is kept
		}
		hub.OnServe(func(total int64) {
			if total < limit {
				return
			}
			for deadline := time.Now().Add(10 * time.Second); begun && !d.partial() && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			kill()
		})
		cmd := d.start(ctx)
		if kills%2 == 1 {
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		}
		err := cmd.Run()
		kill()
		if err == nil {
			d.holds(want)
			require.NoError(t, os.RemoveAll(d.order.Root))
			require.NoError(t, os.Mkdir(d.order.Root, 0o755))
			continue
		}
		kills++
		require.NoFileExists(t, d.path(".seer/manifest.json"))
	}
	hub.OnServe(nil)
	last := d.run()
	require.NoError(t, last.Err(), last.Message)
	d.holds(want)
	resumed := slices.ContainsFunc(hub.Requests(), func(r hubtest.Request) bool { return r.Range != "" })
	assert.True(t, resumed)
}

// partial reports whether part of a file is on disk.
func (d *download) partial() bool {
	parts, err := filepath.Glob(d.path(".seer/staging/*.part"))
	assert.NoError(d.t, err)
	return slices.ContainsFunc(parts, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > 0
	})
}

// Programs that do not know of each other share a volume on one machine: one of
// them downloads, and when it dies, one of the others.
func TestDownloadsAtOnce(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	files := large()
	hub.Add(hubtest.Model{ID: modelID, Files: files})
	d := newDownload(t, hub, modelID, "")
	d.order.StallSeconds = 60
	serving, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hub.OnServe(func(int64) {
		once.Do(func() { close(serving) })
		<-goOn
	})
	first := d.start(t.Context())
	require.NoError(t, first.Start())
	<-serving

	reports := make([]*bufio.Scanner, 9)
	for i := range reports {
		cmd := d.start(t.Context())
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Wait() })
		reports[i] = bufio.NewScanner(stdout)
	}
	for _, lines := range reports {
		require.True(t, lines.Scan(), "those who wait tell of the progress")
	}
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait())
	close(goOn)

	downloads := 0
	for _, lines := range reports {
		var last huggingface.Report
		for lines.Scan() {
			report, ok := huggingface.ParseReport(lines.Bytes())
			require.True(t, ok, lines.Text())
			last = report
		}
		require.Equal(t, "done", last.Event, last.Message)
		if !last.Cached {
			downloads++
		}
	}
	assert.Equal(t, 1, downloads)
	d.holds(files)
	asked := map[string]int{}
	for _, r := range hub.Requests() {
		if asked[r.Path]++; r.CDN {
			assert.LessOrEqual(t, asked[r.Path], 2, "by the one that died and by the one that took over")
		}
	}
}

func TestDownloadSurvives(t *testing.T) {
	for name, fault := range map[string]hubtest.Fault{
		"a cut":          {Path: "/repos/", Times: 3, CutAfter: 300 << 10},
		"a stall":        {Path: "/repos/", Times: 1, StallAfter: 300 << 10},
		"5xx":            {Path: "/resolve/", Times: 2, Status: 503},
		"the rate limit": {Path: "/resolve/", Times: 1, Status: 429, Header: http.Header{"Retry-After": {"0"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := hubtest.NewServer(t)
			files := large()
			hub.Add(hubtest.Model{ID: modelID, Files: files})
			d := newDownload(t, hub, modelID, "")
			hub.Fail(fault)
			last := d.run()
			require.NoError(t, last.Err(), last.Message)
			d.holds(files)
			if fault.CutAfter > 0 || fault.StallAfter > 0 {
				assert.Less(t, hub.Served(), huggingface.Bytes(d.order.Files)+300<<10, "what had come was kept")
			}
		})
	}
}

func TestDownloadGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		arrange func(*hubtest.Server, *download)
		want    error
	}{
		"gated": {func(hub *hubtest.Server, _ *download) {
			hub.Add(hubtest.Model{ID: modelID, Gated: "auto", Files: large()})
		}, huggingface.ErrGated},
		"not found":    {func(_ *hubtest.Server, d *download) { d.order.Repo = "acme-labs/other" }, huggingface.ErrNotFound},
		"revision":     {func(_ *hubtest.Server, d *download) { d.order.Commit = strings.Repeat("0", 40) }, huggingface.ErrFileNotFound},
		"file":         {func(_ *hubtest.Server, d *download) { d.order.Files[0].Path = "gone.json" }, huggingface.ErrFileNotFound},
		"token":        {func(_ *hubtest.Server, d *download) { d.order.Token = "hf_wrong" }, huggingface.ErrUnauthorized},
		"out of order": {func(hub *hubtest.Server, _ *download) { hub.Fail(hubtest.Fault{Path: "/resolve/", Status: 500}) }, huggingface.ErrUnavailable},
		"offline":      {func(_ *hubtest.Server, d *download) { d.order.Endpoint = "http://127.0.0.1:1" }, huggingface.ErrOffline},
		"stalled": {func(hub *hubtest.Server, d *download) {
			d.order.Retries = 1
			hub.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 1})
		}, huggingface.ErrStalled},
		"cut":      {func(hub *hubtest.Server, _ *download) { hub.Fail(hubtest.Fault{Path: "/repos/", CutAfter: 1}) }, huggingface.ErrStalled},
		"corrupt":  {func(_ *hubtest.Server, d *download) { d.order.Files[0].Blob = strings.Repeat("0", 40) }, huggingface.ErrCorrupt},
		"bad path": {func(_ *hubtest.Server, d *download) { d.order.Files[0].Path = "../escaped" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := hubtest.NewServer(t)
			hub.Add(hubtest.Model{ID: modelID, Files: large()})
			d := newDownload(t, hub, modelID, "")
			test.arrange(hub, d)
			err := d.run().Err()
			require.Error(t, err)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			assert.NotContains(t, strings.ToLower(err.Error()), "sparrow")
			require.NoFileExists(t, d.path(".seer/manifest.json"))
			require.NoFileExists(t, filepath.Join(filepath.Dir(d.order.Root), "escaped"))
		})
	}
}

func TestDownloadDiskFull(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	hub.Add(hubtest.Model{ID: modelID, Files: large()})
	d := newDownload(t, hub, modelID, "")
	cmd := d.start(t.Context())
	// The limit on the size of a file stands in for a disk that is full.
	cmd.Args = append([]string{"sh", "-c", `ulimit -f 1024; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	out, err := cmd.Output()
	require.Error(t, err)
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	report, ok := huggingface.ParseReport(lines[len(lines)-1])
	require.True(t, ok, string(out))
	require.ErrorIs(t, report.Err(), huggingface.ErrDiskFull)
	assert.NotEmpty(t, report.Path)
}

func TestDownloadStopped(t *testing.T) {
	t.Parallel()
	hub := hubtest.NewServer(t)
	hub.AddToken(secret)
	hub.Add(hubtest.Model{ID: modelID, Files: large()})
	d := newDownload(t, hub, modelID, secret)
	serving := make(chan struct{}, 1)
	hub.OnServe(func(int64) {
		select {
		case serving <- struct{}{}:
		default:
		}
	})
	hub.Fail(hubtest.Fault{Path: "/repos/", StallAfter: 100 << 10})
	d.order.StallSeconds = 60
	cmd := d.start(t.Context())
	stdout := &bytes.Buffer{}
	cmd.Stdout = stdout
	require.NoError(t, cmd.Start())
	<-serving
	for _, name := range []string{"cmdline", "environ"} {
		// Where there is a /proc, anybody in the sandbox can read these.
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, name))
		if runtime.GOOS == "linux" {
			require.NoError(t, err)
		}
		assert.NotContains(t, string(data), secret)
		assert.NotContains(t, strings.ToLower(string(data)), "sparrow")
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	assert.Equal(t, 143, cmd.ProcessState.ExitCode())
	assert.Contains(t, stdout.String(), `"stopped"`)
}

func TestDownloadWithoutOrders(t *testing.T) {
	d := &download{t: t}
	cmd := d.start(t.Context())
	cmd.Stdin = nil
	out, err := cmd.Output()
	require.Error(t, err)
	report, ok := huggingface.ParseReport(bytes.TrimSpace(out))
	require.True(t, ok, string(out))
	assert.Equal(t, "spec", report.Code)
}
