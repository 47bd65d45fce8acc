//go:build linux

package linux_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == victimArgument {
		victim()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == seekerArgument {
		seekKey()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == holdArgument {
		hold()
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := stateDir(); err != nil || tree.Remove(dir) != nil {
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// stateDir is one store for all tests, so that its base is made once. Tests
// that look at the store itself make their own.
var stateDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "seer-linux-test-") })

// tempDir is t.TempDir for trees with directories that cannot be read.
func tempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { assert.NoError(t, tree.Remove(dir)) })
	return dir
}

// seededDir is a store of its own, with the base of the common one.
func seededDir(t *testing.T) string {
	t.Helper()
	common, err := stateDir()
	require.NoError(t, err)
	host := hostImage(t, newRuntime(t)).ID
	base := filepath.Join("bases", strings.TrimPrefix(host, "im-host-"))
	dir := tempDir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bases"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(common, base), filepath.Join(dir, base)))
	return dir
}

func newRuntime(t *testing.T) *linux.Runtime {
	t.Helper()
	dir, err := stateDir()
	require.NoError(t, err)
	return newRuntimeIn(t, linux.Config{Dir: dir})
}

func newRuntimeIn(t *testing.T, cfg linux.Config) *linux.Runtime {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	r, err := linux.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(b)))
	return len(b), nil
}

func hostImage(t *testing.T, r *linux.Runtime) runtime.Image {
	t.Helper()
	img, err := r.HostImage(t.Context())
	require.NoError(t, err)
	return img
}

// start starts a sandbox that waits, on the host's files.
func start(t *testing.T, r *linux.Runtime, change ...func(*runtime.Spec)) runtime.Sandbox {
	t.Helper()
	spec := runtime.Spec{ID: sandboxID(t), Image: hostImage(t, r).ID, Command: []string{"sleep", "infinity"}}
	for _, c := range change {
		c(&spec)
	}
	s, err := r.Start(t.Context(), spec)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Terminate(context.Background())) })
	return s
}

var ids struct {
	sync.Mutex
	last int
}

func sandboxID(t *testing.T) string {
	t.Helper()
	ids.Lock()
	defer ids.Unlock()
	ids.last++
	return "test-" + string(rune('a'+ids.last/26%26)) + string(rune('a'+ids.last%26))
}

type result struct {
	stdout, stderr string
	status         runtime.ExitStatus
}

// finish reads the output of a process to its end.
func finish(t *testing.T, p runtime.Process) result {
	t.Helper()
	require.NoError(t, p.Stdin().Close())
	var stderr []byte
	var wait sync.WaitGroup
	wait.Go(func() { stderr, _ = io.ReadAll(p.Stderr()) })
	stdout, err := io.ReadAll(p.Stdout())
	assert.NoError(t, err)
	wait.Wait()
	assert.NoError(t, p.Stdout().Close())
	assert.NoError(t, p.Stderr().Close())
	<-p.Done()
	return result{string(stdout), string(stderr), p.Status()}
}

func run(t *testing.T, s runtime.Sandbox, args ...string) result {
	t.Helper()
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: args})
	require.NoError(t, err)
	return finish(t, p)
}

// sh runs a script that must succeed and returns what it printed.
func sh(t *testing.T, s runtime.Sandbox, script string) string {
	t.Helper()
	r := run(t, s, "/bin/sh", "-c", script)
	require.Equal(t, runtime.ExitStatus{}, r.status, "%s\n%s%s", script, r.stdout, r.stderr)
	return r.stdout
}

func put(t *testing.T, s runtime.Sandbox, path, content string, mode fs.FileMode) {
	t.Helper()
	f, err := s.Files().OpenFile(t.Context(), path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	require.NoError(t, err)
	_, err = io.WriteString(f, content)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func dialer(s runtime.Sandbox, port uint16) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx, port) }
}

// How long to wait for what the kernel does on its own.
const (
	waitLimit = 20 * time.Second
	waitStep  = 5 * time.Millisecond
)

// inheritable makes a descriptor one that programs started later keep.
func inheritable(t *testing.T, f *os.File) {
	t.Helper()
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0)
	require.NoError(t, err)
}
