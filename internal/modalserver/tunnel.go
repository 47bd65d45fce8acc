package modalserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// tunnel relays the connections of a port here to a port of a sandbox. TLS
// ends here; what is not TLS passes as it is.
type tunnel struct {
	port     uint32 // in the sandbox
	spec     *pb.PortSpec
	listener *sniffingListener
	ctx      context.Context // ends with the tunnel
	cancel   context.CancelFunc
	closing  sync.Once
}

// openTunnels listens for every open port of a sandbox.
func (s *Server) openTunnels(sb *sandbox) ([]*tunnel, error) {
	var tunnels []*tunnel
	for _, spec := range sb.definition.GetOpenPorts().GetPorts() {
		listener, err := s.listenBeside()
		if err != nil {
			closeTunnels(tunnels)
			return nil, status.Errorf(codes.FailedPrecondition, "open tunnel to port %d: %v", spec.GetPort(), err)
		}
		tunnels = append(tunnels, newTunnel(s.ctx, listener, s.tls, spec))
	}
	return tunnels, nil
}

func newTunnel(parent context.Context, listener net.Listener, cfg *tls.Config, spec *pb.PortSpec) *tunnel {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if spec.GetTunnelType() == pb.TunnelType_TUNNEL_TYPE_H2 {
		cfg.NextProtos = []string{"h2"}
	}
	t := &tunnel{port: spec.GetPort(), spec: spec, listener: newSniffingListener(listener, cfg)}
	t.ctx, t.cancel = context.WithCancel(parent)
	return t
}

func closeTunnels(tunnels []*tunnel) {
	for _, t := range tunnels {
		t.close()
	}
}

func (t *tunnel) close() {
	t.closing.Do(func() {
		t.cancel()
		_ = t.listener.Close()
	})
}

// serve relays until the tunnel closes.
func (t *tunnel) serve(run runtime.Sandbox) {
	var relays sync.WaitGroup
	defer relays.Wait()
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}
		relays.Go(func() { t.relay(run, client) })
	}
}

func (t *tunnel) relay(run runtime.Sandbox, client net.Conn) {
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
	var inward sync.WaitGroup
	inward.Go(func() {
		_, _ = io.Copy(inside, client)
		_ = closeWrite(inside)
	})
	_, _ = io.Copy(client, inside)
	_ = closeWrite(client)
	inward.Wait()
}

// data tells clients where the tunnel is.
func (t *tunnel) data(advertised string) (*pb.TunnelData, error) {
	host, portText, err := net.SplitHostPort(t.listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("describe tunnel: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("describe tunnel: %w", err)
	}
	data := pb.TunnelData_builder{Host: host, Port: uint32(port), ContainerPort: t.port}
	if advertised != "" {
		data.Host = advertised
		if h, p, err := net.SplitHostPort(advertised); err == nil {
			data.Host = h
			if n, err := strconv.ParseUint(p, 10, 16); err == nil {
				data.Port = uint32(n)
			}
		}
	}
	if t.spec.GetUnencrypted() {
		plain := uint32(port)
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
