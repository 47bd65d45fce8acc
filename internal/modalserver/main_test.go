package modalserver

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	modal "github.com/modal-labs/libmodal/modal-go"
	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := removeRealDir(); err != nil {
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// serve starts a server that the test closes.
func serve(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Runtime == nil {
		cfg.Runtime = scripted.New(shell)
	}
	server, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.NoError(t, cfg.Runtime.Close())
	})
	return server
}

// dial returns Modal's own client, connected to the server.
func dial(t *testing.T, server *Server) *modal.Client {
	t.Helper()
	client, err := connect(server, "ak-test", "as-test")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func connect(server *Server, id, secret string) (*modal.Client, error) {
	params := modal.ClientParams{TokenID: id, TokenSecret: secret}
	config, err := decode(params.Config, fmt.Sprintf("[test]\nactive = true\nserver_url = %q\n", server.URL()))
	if err != nil {
		return nil, err
	}
	params.Config = config
	return modal.NewClientWithOptions(&params)
}

// decode fills the client's configuration, whose type has no name outside of its package.
func decode[T any](_ *T, text string) (*T, error) {
	config := new(T)
	return config, toml.Unmarshal([]byte(text), config)
}

// shell plays a few commands.
func shell(ctx context.Context, e scripted.Exec) scripted.Result {
	switch e.Args[0] {
	case "echo":
		fmt.Fprintln(e.Stdout, strings.Join(e.Args[1:], " "))
	case "warn":
		fmt.Fprintln(e.Stderr, strings.Join(e.Args[1:], " "))
	case "cat":
		if _, err := io.Copy(e.Stdout, e.Stdin); err != nil {
			return scripted.Result{Code: 1}
		}
	case "env":
		fmt.Fprintln(e.Stdout, strings.Join(e.Env, "\n"))
	case "exit":
		code, err := strconv.Atoi(e.Args[1])
		if err != nil {
			return scripted.Result{Code: 2}
		}
		return scripted.Result{Code: code}
	case "suicide":
		return scripted.Result{Signal: 9}
	case "bytes":
		n, err := strconv.Atoi(e.Args[1])
		if err != nil {
			return scripted.Result{Code: 2}
		}
		if _, err := io.CopyN(e.Stdout, pattern{}, int64(n)); err != nil {
			return scripted.Result{Code: 1}
		}
	case "hang":
		<-ctx.Done()
	default:
		fmt.Fprintln(e.Stderr, "unknown command", e.Args[0])
		return scripted.Result{Code: 127}
	}
	return scripted.Result{}
}

// pattern is an endless stream whose bytes depend on nothing but a counter.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}
