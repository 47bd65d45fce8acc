//go:build linux

package soak_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/local"
)

// serveVariable makes this program a server of its own; its value is the state directory.
const serveVariable = "SEER_TEST_SOAK_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveVariable); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server, err := local.Serve(ctx, local.ServeOptions{Dir: dir})
	if err != nil {
		return err
	}
	for _, variable := range server.Environ() {
		fmt.Println(variable)
	}
	fmt.Println()
	<-ctx.Done()
	return server.Close()
}

// house is what the operations work with: a backend, and a sandbox that stays.
type house struct {
	backend seer.Backend
	sandbox *seer.ScopedSandbox
	service *seer.Service
	session *seer.CLISession
	local   *seer.LocalSession
	dir     string // for files of this machine
}

// operation is something that a program does over and over.
type operation struct {
	name string
	do   func(ctx context.Context, h *house) error
	rare bool // it takes so long that it is done less often
}

func operations() []operation {
	return []operation{
		{name: "a command", do: func(ctx context.Context, h *house) error {
			_, err := h.sandbox.Exec(ctx, "echo hi")
			return err
		}},
		{name: "Python", do: func(ctx context.Context, h *house) error {
			_, err := h.sandbox.ExecPython(ctx, "print(1)")
			return err
		}},
		{name: "a command that fails", do: func(ctx context.Context, h *house) error {
			_, err := h.sandbox.Exec(ctx, "exit 3")
			return wanted[*seer.ExitError](err)
		}},
		{name: "a program that is not there", do: func(ctx context.Context, h *house) error {
			if err := h.sandbox.Command("/no/such/program").Run(ctx); err == nil {
				return errors.New("it ran")
			}
			return nil
		}},
		{name: "a command that prints a megabyte", do: func(ctx context.Context, h *house) error {
			_, err := h.sandbox.Exec(ctx, "head -c 1000000 /dev/zero | tr '\\0' x")
			return err
		}},
		{name: "output that nobody takes", do: func(ctx context.Context, h *house) error {
			return h.sandbox.Command("head", "-c", "1000000", "/dev/zero").Run(ctx)
		}},
		{name: "input that nobody reads", do: func(ctx context.Context, h *house) error {
			cmd := h.sandbox.Command("true")
			cmd.Stdin = bytes.NewReader(make([]byte, 1<<20))
			return cmd.Run(ctx)
		}},
		{name: "a cancelled command", do: func(ctx context.Context, h *house) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			cmd := h.sandbox.Command("sh", "-c", "echo on; sleep 1000")
			cmd.Stdout = writerFunc(func([]byte) { cancel() })
			if err := cmd.Run(ctx); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("not cancelled: %w", err)
			}
			return nil
		}},
		{name: "a terminal", do: func(ctx context.Context, h *house) error {
			cmd := h.sandbox.Command("tty")
			cmd.PTY = true
			_, err := cmd.Output(ctx)
			return err
		}},
		{name: "a file there and back", do: func(ctx context.Context, h *house) error {
			if err := h.sandbox.WriteFile(ctx, "/tmp/file", make([]byte, 1<<20)); err != nil {
				return err
			}
			_, err := h.sandbox.ReadFile(ctx, "/tmp/file")
			return err
		}},
		{name: "a file that is not there", do: func(ctx context.Context, h *house) error {
			if _, err := h.sandbox.ReadFile(ctx, "/tmp/none"); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("there: %w", err)
			}
			return nil
		}},
		{name: "a tree there and back", do: func(ctx context.Context, h *house) error {
			if err := h.sandbox.Upload(ctx, filepath.Join(h.dir, "tree"), "/tmp/tree"); err != nil {
				return err
			}
			back := filepath.Join(h.dir, "back")
			return errors.Join(h.sandbox.Download(ctx, "/tmp/tree", back), os.RemoveAll(back))
		}},
		{name: "a tunnel", do: func(ctx context.Context, h *house) error {
			url, err := h.sandbox.URL(ctx, port)
			if err != nil {
				return err
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			response, err := (&http.Client{Transport: transport}).Do(request)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, response.Body)
			return errors.Join(err, response.Body.Close())
		}},
		{name: "a served call", do: func(ctx context.Context, h *house) error {
			sum, err := seer.CallAs[int](ctx, h.service, "add", map[string]any{"a": 1, "b": 2})
			if err == nil && sum != 3 {
				err = fmt.Errorf("1 and 2 is %d", sum)
			}
			return err
		}},
		{name: "a served call that raises", do: func(ctx context.Context, h *house) error {
			return wanted[*seer.CallError](h.service.Call(ctx, "fail", nil, nil))
		}},
		{name: "code of a session", do: func(ctx context.Context, h *house) error {
			_, err := h.session.Exec(ctx, "print('x' * 1000)\n1 + 1")
			return err
		}},
		{name: "code that raises", do: func(ctx context.Context, h *house) error {
			_, err := h.session.Exec(ctx, "1 / 0")
			return wanted[*seer.KernelError](err)
		}},
		{name: "code of a local session", do: func(ctx context.Context, h *house) error {
			_, err := h.local.Exec(ctx, "print('x' * 1000)")
			return err
		}},
		{name: "the list of sandboxes", do: func(ctx context.Context, h *house) error {
			for _, err := range seer.List(ctx, seer.Filter{}, seer.WithBackend(h.backend)) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "a second handle", rare: true, do: func(ctx context.Context, h *house) error {
			again, err := seer.FromID(ctx, h.sandbox.SandboxID(), seer.WithBackend(h.backend))
			if err != nil {
				return err
			}
			_, err = again.Exec(ctx, "true")
			return errors.Join(err, again.Close())
		}},
		{name: "a session", rare: true, do: func(ctx context.Context, h *house) error {
			session, err := seer.NewCLISession(ctx, h.sandbox.Sandbox, &seer.Workspace{}, nil)
			if err != nil {
				return err
			}
			_, err = session.Exec(ctx, "print(1)")
			return errors.Join(err, session.Close(ctx))
		}},
		{name: "a local session", rare: true, do: func(ctx context.Context, h *house) error {
			session, err := seer.NewLocalSession(ctx, &seer.Workspace{}, filepath.Join(h.dir, "second"), nil)
			if err != nil {
				return err
			}
			_, err = session.Exec(ctx, "print(1)")
			return errors.Join(err, session.Close(ctx))
		}},
		{name: "a snapshot and what is restored from it", rare: true, do: func(ctx context.Context, h *house) error {
			snapshot, err := h.sandbox.Snapshot(ctx, "soak")
			if err != nil {
				return err
			}
			restored, err := seer.FromSnapshot(ctx, snapshot, seer.SandboxConfig{}, seer.WithBackend(h.backend))
			if err != nil {
				return err
			}
			return restored.Terminate(ctx)
		}},
		{name: "a life of a sandbox", rare: true, do: func(ctx context.Context, h *house) error {
			sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(h.backend)).Start(ctx)
			if err != nil {
				return err
			}
			_, err = sandbox.Exec(ctx, "echo hi")
			return errors.Join(err, sandbox.WriteFile(ctx, "/tmp/file", make([]byte, 1<<20)), sandbox.Terminate(ctx))
		}},
	}
}

// wanted is nil where err is of a type.
func wanted[E error](err error) error {
	var want E
	if errors.As(err, &want) {
		return nil
	}
	return fmt.Errorf("not the error that was wanted: %w", err)
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

const port = 8000

const interfaceFile = `@expose
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@expose
def fail() -> None:
    """Fails."""
    raise ValueError("no")
`

// Whatever is done, nothing of it stays.
func TestNothingStays(t *testing.T) {
	state := t.TempDir()
	for _, kind := range []string{"embedded", "served"} {
		t.Run(kind, func(t *testing.T) {
			subject, backend := begin(t, kind, state)
			h := furnish(t, backend)
			few, rare := 3, 1
			if longtest.Wanted() {
				few, rare = 40, 4
			}
			rounds := func(times int) {
				for _, op := range operations() {
					n := few * times
					if op.rare {
						n = rare * times
					}
					for range n {
						require.NoError(t, op.do(t.Context(), h), op.name)
					}
				}
			}
			rounds(1) // what is kept once is there from now on
			before := subject.settled(t)
			rounds(10)
			after := subject.settled(t)
			t.Logf("before %+v\nafter  %+v", before, after)
			assert.Empty(t, before.growth(after), "after ten times as much")
		})
	}
}

// begin starts a server, in this process or in one of its own.
func begin(t *testing.T, kind, state string) (subject, seer.Backend) {
	t.Helper()
	s := subject{server: os.Getpid(), state: state, temp: t.TempDir()}
	t.Setenv("TMPDIR", s.temp)
	t.Setenv("SEER_HOME", s.state)
	if kind == "embedded" {
		backend := local.New(local.Dir(s.state))
		t.Cleanup(func() { assert.NoError(t, backend.Close()) })
		return s, backend
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), serveVariable+"="+s.state)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		assert.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		assert.NoError(t, cmd.Wait())
	})
	s.server = cmd.Process.Pid
	endpoint := seer.Endpoint{PlainTunnels: true}
	for line := range readLines(t, out) {
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "MODAL_SERVER_URL":
			endpoint.ServerURL = value
		case "MODAL_TOKEN_ID":
			endpoint.TokenID = value
		case "MODAL_TOKEN_SECRET":
			endpoint.TokenSecret = value
		}
	}
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) { return endpoint, nil }, nil)
	t.Cleanup(func() { assert.NoError(t, backend.Close()) })
	return s, backend
}

// furnish starts the sandbox that stays, with a service and sessions.
func furnish(t *testing.T, backend seer.Backend) *house {
	t.Helper()
	h := &house{backend: backend, dir: t.TempDir()}
	for i := range 20 {
		path := filepath.Join(h.dir, "tree", fmt.Sprint(i%4), fmt.Sprint(i))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "interface.py"), []byte(interfaceFile), 0o600))
	var err error
	h.sandbox, err = seer.NewScopedSandbox(seer.SandboxConfig{EncryptedPorts: []int{port}}, seer.WithBackend(backend)).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.sandbox.Terminate(context.Background())) })
	_, err = h.sandbox.Exec(t.Context(), "cd /tmp && nohup python -m http.server 8000 >/dev/null 2>&1 </dev/null & until (: </dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.05; done")
	require.NoError(t, err)
	h.service, err = h.sandbox.Serve(t.Context(), filepath.Join(h.dir, "interface.py"), nil)
	require.NoError(t, err)
	h.session, err = seer.NewCLISession(t.Context(), h.sandbox.Sandbox, &seer.Workspace{}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.session.Close(context.Background())) })
	h.local, err = seer.NewLocalSession(t.Context(), &seer.Workspace{}, filepath.Join(h.dir, "workspace"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, h.local.Close(context.Background())) })
	return h
}

// readLines yields lines until an empty one.
func readLines(t *testing.T, r io.Reader) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var line []byte
		for one := make([]byte, 1); ; {
			_, err := r.Read(one)
			require.NoError(t, err)
			if one[0] != '\n' {
				line = append(line, one[0])
				continue
			}
			if len(line) == 0 || !yield(string(line)) {
				return
			}
			line = line[:0]
		}
	}
}
