//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/modal-labs/libmodal/modal-go"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/local"
)

const (
	tokenID     = "ak-benchmarks"
	tokenSecret = "as-benchmarks"
)

// world is a server whose calls are counted, and may be slowed down.
type world struct {
	runtime    runtime.Runtime
	server     *modalserver.Server
	backend    seer.Backend
	scheduling time.Duration

	mu      sync.Mutex
	calls   int
	delay   time.Duration
	created time.Time // when a sandbox was last asked for
}

// realWorld runs sandboxes on this machine, on the layers that the user's
// other programs have made.
func realWorld() (*world, error) {
	dir, err := local.StateDir()
	if err != nil {
		return nil, err
	}
	rt, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	return newWorld(rt)
}

// newWorld serves a runtime, which it owns from then on.
func newWorld(rt runtime.Runtime) (*world, error) { return newWorldOn(rt, worldOptions{}) }

// worldOptions are what a world has beyond a runtime.
type worldOptions struct {
	imageDir   string        // keeps what is known of images; "" = in memory
	scheduling time.Duration // before a sandbox is there
}

// scheduled is a runtime whose sandboxes are there at once, but do nothing
// before they would have been scheduled.
type scheduled struct {
	runtime.Runtime
	after time.Duration
}

func (s scheduled) Start(ctx context.Context, spec runtime.Spec) (runtime.Sandbox, error) {
	seconds := strconv.FormatFloat(s.after.Seconds(), 'f', -1, 64)
	spec.Command = append([]string{"sh", "-c", `sleep "$0" && exec "$@"`, seconds}, spec.Command...)
	return s.Runtime.Start(ctx, spec)
}

func newWorldOn(rt runtime.Runtime, options worldOptions) (*world, error) {
	if options.scheduling > 0 {
		rt = scheduled{rt, options.scheduling}
	}
	w := &world{runtime: rt, scheduling: options.scheduling}
	server, err := modalserver.New(modalserver.Config{
		Runtime: rt, TokenID: tokenID, TokenSecret: tokenSecret, Hook: w.see, ImageDir: options.imageDir,
	})
	if err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	w.server = server
	w.backend = backendAt(server.URL())
	return w, nil
}

func backendAt(url string) seer.Backend {
	return seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{ServerURL: url, TokenID: tokenID, TokenSecret: tokenSecret, PlainTunnels: true, NoGPU: true}, nil
	}, nil)
}

func (w *world) close() error { return errors.Join(w.server.Close(), w.runtime.Close()) }

func (w *world) see(ctx context.Context, call modalserver.Call) error {
	w.mu.Lock()
	w.calls++
	delay := w.delay
	switch call.Method {
	case "SandboxCreate":
		w.created = time.Now()
	case "SandboxGetTaskId":
		delay = max(delay, time.Until(w.created.Add(w.scheduling)))
	}
	w.mu.Unlock()
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastCreate is when a sandbox was last asked for.
func (w *world) lastCreate() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.created
}

// slow makes every call take that much longer.
func (w *world) slow(delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = delay
}

// count returns the number of calls that arrive while f runs.
func (w *world) count(f func() error) (int, error) {
	w.mu.Lock()
	before := w.calls
	w.mu.Unlock()
	err := f()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls - before, err
}

func (w *world) start(ctx context.Context, config seer.SandboxConfig, opts ...seer.Option) (*seer.Sandbox, error) {
	return seer.NewSandbox(config, append(opts, w.options()...)...).Start(ctx)
}

func (w *world) options() []seer.Option {
	return []seer.Option{seer.WithBackend(w.backend), seer.WithLogger(slog.New(slog.DiscardHandler))}
}

// raw is modal-go's own handle of a sandbox. The client is closed with b.
func (w *world) raw(ctx context.Context, b *bench, sandbox *seer.Sandbox) (*modal.Sandbox, error) {
	client, err := w.rawClient()
	if err != nil {
		return nil, err
	}
	b.later(func() error { client.Close(); return nil })
	return client.Sandboxes.FromID(ctx, sandbox.SandboxID())
}

// rawClient connects modal-go, which takes the address from the environment alone.
func (w *world) rawClient() (client *modal.Client, err error) {
	const variable = "MODAL_SERVER_URL"
	if err := os.Setenv(variable, w.server.URL()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Unsetenv(variable)) }()
	return modal.NewClientWithOptions(&modal.ClientParams{
		Logger: slog.New(slog.DiscardHandler), TokenID: tokenID, TokenSecret: tokenSecret, Environment: "main",
	})
}

// input is what a raw exec reads, in messages of so many bytes.
type input struct {
	io.Reader
	chunk int
}

// What io.Copy makes of it, and what is about the best.
const (
	plainChunk = 32 << 10
	tunedChunk = 1 << 20
)

// rawExec is what a careful user of modal-go writes: input for the command if
// there is any, both outputs read, and then its end waited for.
func rawExec(ctx context.Context, sandbox *modal.Sandbox, in *input, args ...string) error {
	process, err := sandbox.Exec(ctx, args, nil)
	if err != nil {
		return err
	}
	if in != nil {
		if err := in.feed(process.Stdin); err != nil {
			return err
		}
		if err := process.Stdin.Close(); err != nil {
			return err
		}
	}
	for _, output := range []io.Reader{process.Stdout, process.Stderr} {
		if _, err := io.ReadAll(output); err != nil {
			return err
		}
	}
	code, err := process.Wait(ctx)
	if err == nil && code != 0 {
		err = &seer.ExitError{Command: args[0], Code: code}
	}
	return err
}

// feed fills each message, as a tar writes in small pieces.
func (in *input) feed(w io.Writer) error {
	chunk := make([]byte, in.chunk)
	for {
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if _, err := w.Write(chunk[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// realSandbox starts a sandbox of a real world; both end with b.
func (b *bench) realSandbox(ctx context.Context, config seer.SandboxConfig) (*world, *seer.Sandbox, error) {
	w, err := realWorld()
	if err != nil {
		return nil, nil, err
	}
	b.later(w.close)
	sandbox, err := w.start(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	b.later(func() error { return sandbox.Terminate(context.WithoutCancel(ctx)) })
	return w, sandbox, nil
}
