// Package jupytertest runs real Jupyter servers for tests.
package jupytertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

// requirements are what the environment holds.
var requirements = [...]string{"jupyter_server>=2.14,<3", "ipykernel>=6.29,<8", "nbformat>=5.10,<6"}

// Python returns a Python interpreter that has jupyter_server, ipykernel and
// nbformat. It is made once per machine, in the user's cache directory. Where
// it cannot be made the test is skipped, or fails if the variable CI is set.
func Python(tb testing.TB) string {
	tb.Helper()
	python, err := environment(tb.Context())
	if err == nil {
		return python
	}
	if os.Getenv("CI") != "" {
		tb.Fatalf("no Python environment with Jupyter: %v", err)
	}
	tb.Skipf("no Python environment with Jupyter: %v", err)
	return ""
}

func environment(ctx context.Context) (string, error) {
	base, err := exec.LookPath("python3")
	if err != nil {
		return "", err
	}
	version, err := output(ctx, base, "--version")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	hash := sha256.Sum256([]byte(base + version + strings.Join(requirements[:], " ")))
	dir := filepath.Join(cache, "seer-test", "jupyter-venv-"+hex.EncodeToString(hash[:6]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", fmt.Errorf("lock %s: %w", dir, err)
	}
	defer unlock()

	python := filepath.Join(dir, "bin", "python")
	if runtime.GOOS == "windows" {
		python = filepath.Join(dir, "Scripts", "python.exe")
	}
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return python, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if _, err := output(ctx, base, "-m", "venv", "--clear", dir); err != nil {
		return "", err
	}
	install := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, requirements[:]...)
	if _, err := output(ctx, python, install...); err != nil {
		return "", err
	}
	return python, os.WriteFile(complete, nil, 0o644)
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// Server is a running server.
type Server struct {
	Config jupyter.Config
	Root   string // of its files
}

// Start runs a server on a free loopback port until the test ends. Extra
// arguments follow those of [jupyter.ServerArgs] and replace those of their name.
func Start(tb testing.TB, extra ...string) *Server {
	tb.Helper()
	python := Python(tb)
	root, private := tb.TempDir(), tb.TempDir()
	var output buffer
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), python, override(jupyter.ServerArgs("127.0.0.1", 0, root), extra)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(),
		jupyter.TokenVariable+"=test-"+filepath.Base(private),
		jupyter.RuntimeVariable+"="+filepath.Join(private, "runtime"),
		"JUPYTER_CONFIG_DIR="+filepath.Join(private, "config"),
		"IPYTHONDIR="+filepath.Join(private, "ipython"),
	)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start jupyter server: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the log says more
	}()
	tb.Cleanup(func() {
		stop(cmd.Process, exited)
		if tb.Failed() {
			tb.Logf("jupyter server:\n%s", output.String())
		}
	})

	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		config, err := jupyter.ReadRuntime(filepath.Join(private, "runtime"))
		if err == nil {
			return &Server{Config: config, Root: root}
		}
		select {
		case <-ticker.C:
		case <-exited:
			tb.Fatalf("jupyter server ended:\n%s", output.String())
		case <-tb.Context().Done():
			tb.Fatalf("jupyter server did not start: %v", err)
		}
	}
}

// override appends extra to args, without those that set the same option.
func override(args, extra []string) []string {
	name := func(arg string) string { before, _, _ := strings.Cut(arg, "="); return before }
	args = slices.DeleteFunc(args, func(arg string) bool {
		return slices.ContainsFunc(extra, func(e string) bool { return name(e) == name(arg) })
	})
	return append(args, extra...)
}

// stop ends the server, which ends its kernels when it has time for that.
func stop(process *os.Process, exited <-chan struct{}) {
	const patience = 20 * time.Second
	if terminate(process) == nil {
		select {
		case <-exited:
			return
		case <-time.After(patience):
		}
	}
	_ = process.Kill() // it may be gone
	<-exited
}

// buffer is a bytes.Buffer that may be read while a process writes to it.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
