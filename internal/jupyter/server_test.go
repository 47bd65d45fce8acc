package jupyter_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

func testIdentity(t *testing.T, running *jupytertest.Server) {
	t.Run("a wrong token is refused", func(t *testing.T) {
		config := running.Config
		config.Token = "wrong"
		_, err := jupyter.Connect(within(t), config)
		require.ErrorIs(t, err, jupyter.ErrUnauthorized)
		assert.NotContains(t, err.Error(), "wrong")
	})
	t.Run("the websocket is refused without the token", func(t *testing.T) {
		kernel := start(t, await(t, running.Config))
		channels := running.Config.BaseURL + "api/kernels/" + kernel.ID() + "/channels"
		for _, token := range []string{"", "wrong"} {
			conn, resp, err := websocket.Dial(within(t), channels, &websocket.DialOptions{
				HTTPHeader: http.Header{"Authorization": {"token " + token}},
			})
			if !assert.Error(t, err) {
				require.NoError(t, conn.CloseNow())
			}
			assert.Equal(t, http.StatusForbidden, resp.StatusCode)
		}
	})
	t.Run("a relayed connection", func(t *testing.T) {
		config := running.Config
		address := config.BaseURL[len("http://") : len(config.BaseURL)-1]
		config.BaseURL = "http://sandbox.invalid:8888"
		config.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		}
		require.Equal(t, "2", run(t, start(t, await(t, config)), "1+1"))
	})
	t.Run("an unknown kernel", func(t *testing.T) {
		_, err := await(t, running.Config).Attach(within(t), "0-0-0-0-0")
		require.ErrorIs(t, err, jupyter.ErrNotFound)
	})
}

// A kernel comes into being although nobody waits for it any more.
func testGivenUpStarts(t *testing.T, running *jupytertest.Server) {
	at, err := url.Parse(running.Config.BaseURL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(at)
	var giveUp atomic.Pointer[context.CancelFunc]
	made := make(chan struct{}, 2)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodPost {
			made <- struct{}{}
		}
		return nil
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		if r.Method == http.MethodPost {
			(*giveUp.Load())()
		}
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer front.Close()
	config := running.Config
	config.BaseURL = front.URL
	server := await(t, config)
	for name, start := range map[string]func(ctx context.Context) (*jupyter.Kernel, error){
		"kernel": func(ctx context.Context) (*jupyter.Kernel, error) { return server.StartKernel(ctx, "", "") },
		"notebook": func(ctx context.Context) (*jupyter.Kernel, error) {
			return server.NewNotebook(ctx, "given-up.ipynb", "")
		},
	} {
		before, err := server.Kernels(within(t))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(within(t))
		giveUp.Store(&cancel)
		_, err = start(ctx)
		require.ErrorIs(t, err, context.Canceled, name)
		<-made
		after, err := server.Kernels(within(t))
		require.NoError(t, err)
		assert.Len(t, after, len(before), "%s: it is ended", name)
	}
}

func TestConnectRefusesOthers(t *testing.T) {
	const status = `{"started": "2030-01-01T00:00:00Z", "kernels": 0}`
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"a web page": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<h1>hello</h1>") },
			jupyter.ErrNotJupyter,
		},
		"a web page that has no such path": {http.NotFound, jupyter.ErrNotJupyter},
		"JSON of something else": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status": "ok"}`) },
			jupyter.ErrNotJupyter,
		},
		"a server that is open to everybody": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, status) },
			jupyter.ErrUnprotected,
		},
		"a redirect to a login page": {
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
			jupyter.ErrNotJupyter,
		},
	} {
		t.Run(name, func(t *testing.T) {
			other := httptest.NewServer(test.handler)
			defer other.Close()
			_, err := jupyter.Connect(within(t), jupyter.Config{BaseURL: other.URL, Token: "secret"})
			require.ErrorIs(t, err, test.want)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestConnectRefusesConfig(t *testing.T) {
	for name, config := range map[string]jupyter.Config{
		"no token":  {BaseURL: "http://127.0.0.1:1"},
		"no scheme": {BaseURL: "127.0.0.1:1", Token: "t"},
		"no host":   {BaseURL: "http://", Token: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jupyter.Connect(within(t), config)
			require.Error(t, err)
		})
	}
}

func TestNobodyListens(t *testing.T) {
	config := jupyter.Config{BaseURL: "http://127.0.0.1:1", Token: "t"}
	_, err := jupyter.Connect(within(t), config)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	var attempts atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if attempts.Add(1) == 5 {
			cancel()
		}
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, addr)
	}
	_, err = jupyter.Await(ctx, config)
	require.ErrorIs(t, err, context.Canceled)
}

func TestSocketArgs(t *testing.T) {
	assert.Empty(t, jupyter.SocketArgs("/"+strings.Repeat("long", 20)), "a socket's name has a limit")
	if runtime.GOOS != "windows" {
		assert.NotEmpty(t, jupyter.SocketArgs("/tmp/seer-jupyter-1234567890/runtime"))
	}
}
