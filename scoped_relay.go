package seer

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
)

// relay is a loopback port of this program that leads to a port inside a
// sandbox of which no port is open. Each connection costs a command inside, so
// it has to begin with a request that is allowed.
type relay struct {
	url      string
	listener net.Listener
	clients  *crowd.Crowd
	allowed  func(*http.Request) bool
	dial     func(ctx context.Context) (net.Conn, error)
	logger   *slog.Logger
	life     context.Context //nolint:containedctx // the life of all connections, ended by close
	end      context.CancelFunc
	tasks    sync.WaitGroup
}

// maxRelayed is how many connections one relay holds.
const maxRelayed = 512

func openRelay(
	ctx context.Context, logger *slog.Logger, allowed func(*http.Request) bool, dial func(ctx context.Context) (net.Conn, error),
) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{
		url: "http://" + listener.Addr().String(), allowed: allowed, dial: dial, logger: logger,
		clients: crowd.New(crowd.Fitting(maxRelayed, 16), crowd.Fitting(crowd.MaxStrangers, 16), nil),
	}
	r.life, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.listener = crowd.Listen(r.life, listener, r.clients)
	r.tasks.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // closed: nothing else ends it
		}
		r.tasks.Go(func() { r.serve(near) })
	}
}

// serve lets a connection in whose first request is allowed. The server inside
// judges that one again, and all that follow.
func (r *relay) serve(near net.Conn) {
	defer near.Close()
	defer context.AfterFunc(r.life, func() { _ = near.Close() })()
	var head bytes.Buffer
	request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(io.LimitReader(near, crowd.MaxHeader), &head)))
	if err != nil {
		return
	}
	if !r.allowed(request) {
		_, _ = io.WriteString(near, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return
	}
	r.clients.Know(near.RemoteAddr().String())
	far, err := r.dial(r.life)
	if err != nil {
		r.logger.Debug("reach port inside the sandbox", "error", err)
		return
	}
	r.join(near, io.MultiReader(&head, near), far)
}

// connect is a connection of this program itself, which needs no token.
func (r *relay) connect(ctx context.Context) (net.Conn, error) {
	far, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	return ownConn{far, context.AfterFunc(r.life, func() { _ = far.Close() })}, nil
}

// ownConn is a connection that ends with the relay.
type ownConn struct {
	net.Conn
	forget func() bool
}

func (c ownConn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// join passes on what comes from near, of which some is in said already, and
// from far, until either side hangs up.
func (r *relay) join(near net.Conn, said io.Reader, far net.Conn) {
	hangUp := func() {
		_ = near.Close() // ends both copies
		_ = far.Close()
	}
	defer context.AfterFunc(r.life, hangUp)()
	var copies sync.WaitGroup
	for _, way := range []struct {
		to   net.Conn
		from io.Reader
	}{{near, far}, {far, said}} {
		copies.Go(func() {
			_, _ = io.Copy(way.to, way.from)
			hangUp()
		})
	}
	copies.Wait()
}

// close ends all connections, and waits.
func (r *relay) close() {
	_ = r.listener.Close()
	r.end()
	r.tasks.Wait()
}
