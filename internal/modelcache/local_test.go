package modelcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// host keeps volumes as directories and runs downloads as processes. It is
// what programs on one account share.
type host struct {
	t      *testing.T
	dir    string
	python string

	mu      sync.Mutex
	running map[string]*process
	jobs    []modelcache.Job // all that were started
	looks   int              // calls of ReadFile and Files
}

func newHost(t *testing.T) *host {
	t.Helper()
	return &host{t: t, dir: t.TempDir(), python: venvtest.Python(t, huggingface.DownloaderPackages()...), running: map[string]*process{}}
}

func (h *host) ReadFile(_ context.Context, volume, path string) ([]byte, error) {
	h.mu.Lock()
	h.looks++
	h.mu.Unlock()
	return os.ReadFile(filepath.Join(h.dir, volume, path))
}

func (h *host) Files(_ context.Context, volume string) ([]modelcache.FileInfo, error) {
	h.mu.Lock()
	h.looks++
	h.mu.Unlock()
	var files []modelcache.FileInfo
	root := filepath.Join(h.dir, volume)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		files = append(files, modelcache.FileInfo{Path: filepath.ToSlash(rel), Size: info.Size(), ModTime: info.ModTime()})
		return err
	})
	return files, err
}

func (h *host) Volumes(context.Context) ([]string, error) {
	entries, err := os.ReadDir(h.dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (h *host) Delete(_ context.Context, volume string) error {
	return os.RemoveAll(filepath.Join(h.dir, volume))
}

// Start runs the job as a process, which sees the volume's directory where the
// order expects the mount.
func (h *host) Start(_ context.Context, job modelcache.Job) (modelcache.Run, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[job.Name] != nil {
		return nil, modelcache.ErrNameTaken
	}
	volume := filepath.Join(h.dir, job.Volume)
	if err := os.MkdirAll(volume, 0o755); err != nil {
		return nil, err
	}
	var order map[string]any
	if err := json.Unmarshal(job.Stdin, &order); err != nil {
		return nil, err
	}
	order["root"] = volume
	line, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	p := &process{ended: make(chan struct{})}
	p.grown = sync.NewCond(&p.mu)
	p.cmd = exec.Command(h.python, job.Argv[1:]...) // without a context: it outlives whoever starts it, as a sandbox does
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir + "-home"}
	p.cmd.Stdin, p.cmd.Stdout = bytes.NewReader(append(line, '\n')), p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	h.running[job.Name] = p
	h.jobs = append(h.jobs, job)
	go func() {
		_ = p.cmd.Wait()
		h.mu.Lock()
		delete(h.running, job.Name)
		h.mu.Unlock()
		close(p.ended)
		p.mu.Lock()
		p.over = true
		p.mu.Unlock()
		p.grown.Broadcast()
	}()
	h.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return &attached{process: p}, nil
}

func (h *host) Attach(_ context.Context, name string) (modelcache.Run, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.running[name]
	if p == nil {
		return nil, modelcache.ErrNotRunning
	}
	return &attached{process: p}, nil
}

// started returns the jobs started so far.
func (h *host) started() []modelcache.Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]modelcache.Job(nil), h.jobs...)
}

// kill ends all running downloads as a crash would.
func (h *host) kill() { h.signal(syscall.SIGKILL) }

func (h *host) signal(signal os.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.running {
		_ = p.cmd.Process.Signal(signal)
	}
}

// volume reads all files of the only volume, or fails.
func (h *host) volume(name string) map[string][]byte {
	h.t.Helper()
	got := map[string][]byte{}
	files, err := h.Files(h.t.Context(), name)
	require.NoError(h.t, err)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(h.dir, name, f.Path))
		require.NoError(h.t, err)
		got[f.Path] = data
	}
	return got
}

// process is a running download whose output any number can read.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	grown  *sync.Cond
	output []byte
	over   bool
}

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	p.output = append(p.output, data...)
	p.mu.Unlock()
	p.grown.Broadcast()
	return len(data), nil
}

// attached is one program's view of a process.
type attached struct {
	*process
	read   int
	closed bool
}

func (a *attached) Output() io.Reader { return a }

func (a *attached) Read(data []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.read == len(a.output) && !a.over && !a.closed {
		a.grown.Wait()
	}
	n := copy(data, a.output[a.read:])
	a.read += n
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (a *attached) Stop(ctx context.Context) error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-a.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *attached) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.grown.Broadcast()
	return nil
}
