package modalserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	// helloTime is how long what a sandbox says first waits for a client that
	// may be about to speak TLS. Clients on one machine begin within a millisecond.
	helloTime = 200 * time.Millisecond
	// handshakeTime bounds a TLS handshake that has begun.
	handshakeTime = 10 * time.Second
	relayBuffer   = 32 << 10 // bytes
)

// tunnel relays the connections of a port here to a port of a sandbox. On a
// port that is to be encrypted TLS ends here; what is not TLS passes as it is,
// as does everything on one that is not.
type tunnel struct {
	port    uint32 // in the sandbox
	spec    *pb.PortSpec
	tls     *tls.Config
	secure  *crowd.Listener // understands TLS
	raw     *crowd.Listener // nil = none
	ctx     context.Context // ends with the tunnel
	cancel  context.CancelFunc
	closing sync.Once
}

// openTunnels listens for every open port of a sandbox.
func (s *Server) openTunnels(sb *sandbox) ([]*tunnel, error) {
	clients := crowd.New(crowd.Fitting(maxTunnelledEach, 16), 0, s.tunnelled)
	var tunnels []*tunnel
	for _, spec := range sb.definition.GetOpenPorts().GetPorts() {
		t, err := s.openTunnel(spec, clients)
		if err != nil {
			closeTunnels(tunnels)
			return nil, status.Errorf(codes.FailedPrecondition, "open tunnel to port %d: %v", spec.GetPort(), err)
		}
		tunnels = append(tunnels, t)
	}
	return tunnels, nil
}

func (s *Server) openTunnel(spec *pb.PortSpec, clients *crowd.Crowd) (*tunnel, error) {
	cfg := s.tls.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if spec.GetTunnelType() == pb.TunnelType_TUNNEL_TYPE_H2 {
		cfg.NextProtos = []string{"h2"}
	}
	t := &tunnel{port: spec.GetPort(), spec: spec, tls: cfg}
	t.ctx, t.cancel = context.WithCancel(s.ctx)
	secure, err := s.listenForTunnels()
	if err != nil {
		return nil, err
	}
	t.secure = crowd.Listen(t.ctx, secure, clients)
	if spec.GetUnencrypted() {
		raw, err := s.listenForTunnels()
		if err != nil {
			t.close()
			return nil, err
		}
		t.raw = crowd.Listen(t.ctx, raw, clients)
	}
	for _, l := range t.listeners() {
		s.tunnelAt.Store(l.Addr().String(), t)
	}
	context.AfterFunc(t.ctx, func() {
		for _, l := range t.listeners() {
			s.tunnelAt.Delete(l.Addr().String())
		}
	})
	return t, nil
}

func (s *Server) listenForTunnels() (net.Listener, error) {
	if s.tunnelHost == "" {
		return s.listenBeside()
	}
	return listen(s.ctx, net.JoinHostPort(s.tunnelHost, "0"))
}

// isTunnel reports whether a tunnel listens at an address.
func (s *Server) isTunnel(address netip.AddrPort) bool {
	_, ok := s.tunnelAt.Load(address.String())
	return ok
}

func (t *tunnel) listeners() []*crowd.Listener {
	if t.raw == nil {
		return []*crowd.Listener{t.secure}
	}
	return []*crowd.Listener{t.secure, t.raw}
}

func closeTunnels(tunnels []*tunnel) {
	for _, t := range tunnels {
		t.close()
	}
}

func (t *tunnel) close() {
	t.closing.Do(func() {
		t.cancel()
		for _, l := range t.listeners() {
			_ = l.Close()
		}
	})
}

// serve relays until the tunnel closes.
func (t *tunnel) serve(run runtime.Sandbox) {
	var running sync.WaitGroup
	for _, l := range t.listeners() {
		running.Go(func() {
			for {
				client, err := l.Accept()
				if err != nil {
					return
				}
				running.Go(func() { t.relay(run, client, l == t.secure) })
			}
		})
	}
	running.Wait()
}

func (t *tunnel) relay(run runtime.Sandbox, client net.Conn, secure bool) {
	defer func() { _ = client.Close() }()
	inside, err := run.Dial(t.ctx, uint16(t.port))
	if err != nil {
		return // the client sees its connection closed, as with any port that nobody serves
	}
	defer func() { _ = inside.Close() }()
	defer context.AfterFunc(t.ctx, func() {
		_ = client.Close()
		_ = inside.Close()
	})()
	outer, inner := client, inside
	if secure {
		if outer, inner, err = t.agree(client, inside); err != nil {
			return
		}
	}
	var inward sync.WaitGroup
	inward.Go(func() { pass(inner, outer) })
	pass(outer, inner)
	inward.Wait()
}

// pass copies one direction and passes its end on. One that breaks off takes
// the other with it, so that nobody takes half a transfer for a whole.
func pass(to, from net.Conn) {
	source := &lastError{Reader: from}
	// The wrapper hides what would take a pipe for each direction.
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, source, make([]byte, relayBuffer))
	if source.err != nil && !errors.Is(source.err, io.EOF) {
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = crowd.CloseWrite(to)
}

// lastError remembers why reading ended.
type lastError struct {
	io.Reader
	err error
}

func (l *lastError) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.err = err
	return n, err
}

// agree finds out whether the client speaks TLS, which then ends here. One that
// says nothing is sent what the sandbox says as it is.
func (t *tunnel) agree(client, inside net.Conn) (net.Conn, net.Conn, error) {
	said := ahead(client, 1)
	banner := ahead(inside, relayBuffer)
	plain := &aheadConn{Conn: client, first: said}
	begun := &aheadConn{Conn: inside, first: banner}
	select {
	case <-said.done:
	case <-banner.done:
		hello := time.NewTimer(helloTime)
		defer hello.Stop()
		select {
		case <-said.done:
		case <-hello.C:
			return plain, begun, nil
		}
	}
	if said.n == 0 || said.data[0] != tlsHandshakeRecord {
		return plain, begun, nil
	}
	secured := tls.Server(plain, t.tls)
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTime)
	defer cancel()
	return secured, begun, secured.HandshakeContext(ctx)
}

// ahead reads from a connection before it is known what to do with it.
func ahead(conn net.Conn, size int) *firstRead {
	r := &firstRead{data: make([]byte, size), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.n, r.err = conn.Read(r.data)
	}()
	return r
}

// firstRead is the outcome of a read; what is in it is final once done is closed.
type firstRead struct {
	data []byte
	n    int
	err  error
	done chan struct{}
}

// aheadConn is a connection of which the first read is under way.
type aheadConn struct {
	net.Conn
	first *firstRead
}

func (c *aheadConn) Read(p []byte) (int, error) {
	first := c.first
	if first == nil {
		return c.Conn.Read(p)
	}
	<-first.done
	if n := copy(p, first.data[:first.n]); n > 0 {
		first.data, first.n = first.data[n:], first.n-n
		return n, nil
	}
	c.first = nil
	if first.err != nil {
		return 0, first.err
	}
	return c.Conn.Read(p)
}

// CloseWrite ends the sending half.
func (c *aheadConn) CloseWrite() error { return crowd.CloseWrite(c.Conn) }

// data tells clients where the tunnel is.
func (t *tunnel) data(advertised string) (*pb.TunnelData, error) {
	secure, err := netip.ParseAddrPort(t.secure.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("describe tunnel: %w", err)
	}
	data := pb.TunnelData_builder{Host: secure.Addr().String(), Port: uint32(secure.Port()), ContainerPort: t.port}
	if advertised != "" {
		data.Host = advertised
		if h, p, err := net.SplitHostPort(advertised); err == nil {
			data.Host = h
			if n, err := strconv.ParseUint(p, 10, 16); err == nil {
				data.Port = uint32(n)
			}
		}
	}
	if t.raw != nil {
		raw, err := netip.ParseAddrPort(t.raw.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("describe tunnel: %w", err)
		}
		plain := uint32(raw.Port())
		data.UnencryptedHost, data.UnencryptedPort = &data.Host, &plain
	}
	return data.Build(), nil
}

// SandboxGetTunnels tells where a sandbox's open ports are reached. They are
// there from the start.
func (s *Server) SandboxGetTunnels(_ context.Context, r *pb.SandboxGetTunnelsRequest) (*pb.SandboxGetTunnelsResponse, error) {
	sb, err := s.findRunning(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	answer := pb.SandboxGetTunnelsResponse_builder{Result: success()}
	for _, t := range sb.tunnels {
		data, err := t.data(s.advertised)
		if err != nil {
			return nil, failure("get tunnels", err)
		}
		answer.Tunnels = append(answer.Tunnels, data)
	}
	return answer.Build(), nil
}
