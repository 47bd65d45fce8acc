// Package jupytertest runs real Jupyter servers for tests.
package jupytertest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/guard"
	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// Python returns a Python interpreter that has jupyter_server, ipykernel and
// nbformat.
func Python(tb testing.TB) string {
	tb.Helper()
	return venvtest.Python(tb, "jupyter_server>=2.14,<3", "ipykernel>=6.29,<8", "nbformat>=5.10,<6")
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
	runtime := filepath.Join(private, "runtime")
	args := append(jupyter.ServerArgs("127.0.0.1", 0, root), jupyter.SocketArgs(runtime)...)
	var output buffer
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), python, override(args, extra)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(),
		jupyter.TokenVariable+"=test-"+filepath.Base(private),
		jupyter.RuntimeVariable+"="+runtime,
		"JUPYTER_CONFIG_DIR="+filepath.Join(private, "config"),
		"IPYTHONDIR="+filepath.Join(private, "ipython"),
	)
	cmd.Stdout, cmd.Stderr = &output, &output
	guarded, err := guard.Start(cmd)
	if err != nil {
		tb.Fatalf("start jupyter server: %v", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // the log says more
	}()
	tb.Cleanup(func() {
		guarded.End()
		<-exited
		if tb.Failed() {
			tb.Logf("jupyter server:\n%s", output.String())
		}
	})

	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		config, err := jupyter.ReadRuntime(runtime)
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
