package modalclient_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server with its calls on record, and a client.
type world struct {
	*modalclient.Client
	server *modalserver.Server

	mu    sync.Mutex
	calls []modalserver.Call
	hook  modalserver.Hook
}

// newWorld starts a server on a runtime and connects to it.
func newWorld(t testing.TB, rt runtime.Runtime) *world {
	t.Helper()
	w := &world{}
	server, err := modalserver.New(modalserver.Config{Runtime: rt, Hook: w.see, TokenID: "ak-test", TokenSecret: "as-test"})
	require.NoError(t, err)
	w.server = server
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.NoError(t, rt.Close())
	})
	w.Client = w.connect(t)
	return w
}

// connect makes a further client of the same server.
func (w *world) connect(t testing.TB) *modalclient.Client {
	t.Helper()
	client, err := modalclient.New(t.Context(), w.config())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func (w *world) config() modalclient.Config {
	return modalclient.Config{ServerURL: w.server.URL(), TokenID: "ak-test", TokenSecret: "as-test", PlainTunnels: true}
}

func (w *world) see(ctx context.Context, call modalserver.Call) error {
	w.mu.Lock()
	w.calls = append(w.calls, call)
	hook := w.hook
	w.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, call)
}

// intercept sets what happens before each call.
func (w *world) intercept(hook modalserver.Hook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// record returns the methods called while f ran.
func (w *world) record(f func()) []string {
	w.mu.Lock()
	w.calls = nil
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	var methods []string
	for _, call := range w.calls {
		methods = append(methods, call.Method)
	}
	return methods
}

// request returns the last request of a method.
func (w *world) request(method string) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.calls) - 1; i >= 0; i-- {
		if w.calls[i].Method == method {
			return w.calls[i].Request
		}
	}
	return nil
}

func (w *world) image(t testing.TB) (modalclient.App, string) {
	t.Helper()
	app, err := w.App(t.Context(), "test", true)
	require.NoError(t, err)
	image, err := w.BuildImage(t.Context(), app, "debian:12-slim", nil, nil)
	require.NoError(t, err)
	return app, image
}

// sandbox starts a sandbox that lives until the server ends.
func (w *world) sandbox(t testing.TB) *modalclient.Sandbox {
	t.Helper()
	app, image := w.image(t)
	s, err := w.Create(t.Context(), app, spec(image))
	require.NoError(t, err)
	return s
}

func spec(image string) modalclient.CreateSpec {
	return modalclient.CreateSpec{Image: image, Command: []string{"sleep", "infinity"}}
}

// idle is a runtime whose commands end at once.
func idle() runtime.Runtime { return scripted.New(nil) }
