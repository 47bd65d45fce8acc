package seer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// loopbackPort is a port of this program that every user of the machine reaches.
type loopbackPort struct {
	address, path, token string
}

// loopbackPorts opens one of each kind before the same service, and returns
// them and how many connections have reached the service.
func loopbackPorts(t *testing.T) (map[string]loopbackPort, *atomic.Int64) {
	t.Helper()
	const token = "right-token"
	var reached atomic.Int64
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	service.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			reached.Add(1)
		}
	}
	service.Start()
	t.Cleanup(service.Close)
	logger := slog.New(slog.DiscardHandler)

	relayed, err := openRelay(t.Context(), logger, func(r *http.Request) bool { return showsToken(r, token) }, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", service.Listener.Addr().String())
	})
	require.NoError(t, err)
	t.Cleanup(relayed.close)
	relayURL, err := url.Parse(relayed.url)
	require.NoError(t, err)

	proxy, err := openServiceProxy(t.Context(), logger)
	require.NoError(t, err)
	t.Cleanup(proxy.close)
	_, err = proxy.open(map[string]string{"SEER_RPC_X_URL": service.URL, "SEER_RPC_X_TOKEN": token}, "host")
	require.NoError(t, err)

	server := mcpserver.New("x", mcpserver.Tools{}, mcpserver.Options{})
	mcp, err := server.Listen(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, mcp.Close()) })
	mcpURL, err := url.Parse(mcp.URL)
	require.NoError(t, err)

	return map[string]loopbackPort{
		"relay":         {relayURL.Host, "/s/x", token},
		"service proxy": {proxy.address().String(), "/SEER_RPC_X_URL", token},
		"MCP":           {mcpURL.Host, mcpURL.Path, mcp.Token},
	}, &reached
}

func (p loopbackPort) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends a request and returns the answer, after which nothing but the end
// of the connection may come.
func (p loopbackPort) ask(t *testing.T, token, headers string) int {
	t.Helper()
	conn := p.dial(t)
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 2\r\n%s\r\n{}", p.path, p.address, token, headers)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(crowd.StrangerTime/2)))
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	if token != p.token {
		_, err = reader.ReadByte()
		require.Error(t, err)
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "who has no token keeps no connection")
	}
	return answer.StatusCode
}

// Whoever has no token takes neither memory nor connections for long, starts
// nothing, and does not keep out those that have one.
func TestLoopbackPortsBoundStrangers(t *testing.T) {
	t.Parallel()
	ports, reached := loopbackPorts(t)
	for name, port := range ports {
		t.Run(name, func(t *testing.T) {
			before := reached.Load()
			assert.Equal(t, http.StatusUnauthorized, port.ask(t, "wrong", ""))
			first := port.dial(t)
			for range crowd.MaxStrangers + 8 {
				port.dial(t)
			}
			require.NoError(t, first.SetReadDeadline(time.Now().Add(crowd.StrangerTime/2)))
			_, err := first.Read(make([]byte, 1))
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the stranger that came first makes room")

			large := port.dial(t)
			_, _ = fmt.Fprintf(large, "POST %s HTTP/1.1\r\nHost: x\r\nX-Large: %s", port.path, strings.Repeat("a", 4*crowd.MaxHeader)) // it may hang up before
			require.NoError(t, large.SetReadDeadline(time.Now().Add(crowd.StrangerTime/2)))
			_, err = io.Copy(io.Discard, large)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "half a header of any size is not waited for")

			assert.Equal(t, before, reached.Load(), "a stranger reached the service")
			assert.NotEqual(t, http.StatusUnauthorized, port.ask(t, port.token, "Connection: close\r\n"))
		})
	}
}

// A page in a browser of this machine may not speak with an agent's tools.
func TestMCPRefusesForeignOrigins(t *testing.T) {
	t.Parallel()
	ports, _ := loopbackPorts(t)
	port := ports["MCP"]
	for _, origin := range []string{"http://evil.example", "null", "http://" + port.address + ".evil.example", "http://127.0.0.1:1", "%"} {
		assert.Equal(t, http.StatusForbidden, port.ask(t, port.token, "Connection: close\r\nOrigin: "+origin+"\r\n"), "%s", origin)
	}
	assert.NotEqual(t, http.StatusForbidden, port.ask(t, port.token, "Connection: close\r\nOrigin: http://"+port.address+"\r\n"))
}
