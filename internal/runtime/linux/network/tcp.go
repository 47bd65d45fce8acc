//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// buffers are the bytes of a connection's buffers, of which each has two of each kind.
type buffers struct {
	stack  int64 // in the stack, and in the host's kernel
	copies int   // between them
}

// buffersFor gives a sandbox's n-th connection its buffers. A few are quick; of
// the many that nobody reads all together hold no more than the few.
func buffersFor(n int) buffers {
	switch {
	case n <= quickConnections:
		return buffers{connectionBuffer, 64 << 10}
	case n <= 8*quickConnections:
		return buffers{connectionBuffer / 8, 16 << 10}
	default:
		return buffers{connectionBuffer / 32, 8 << 10}
	}
}

const (
	quickConnections = 32

	// lingerTimeout bounds how long a finished connection keeps what the
	// sandbox does not read.
	lingerTimeout = 10 * time.Minute
)

var errTooMany = errors.New("the sandbox has too many open connections")

// acceptTCP answers one connection request of the sandbox, in a goroutine of
// its own.
func (n *Network) acceptTCP(r *tcp.ForwarderRequest) {
	if !n.enter() {
		r.Complete(true)
		return
	}
	defer n.running.Done()
	if !n.take(n.connections) {
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, errTooMany)
		r.Complete(true)
		return
	}
	defer n.free(n.connections)
	if toNetip(r.ID().LocalAddress).String() == TunnelIP {
		if !n.neighbours.take() {
			n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, errTooMany)
			r.Complete(true)
			return
		}
		defer n.neighbours.free()
	}

	conn, err := n.connect(r)
	if err != nil {
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, err)
		r.Complete(true)
		return
	}
	r.Complete(false)
	stop := context.AfterFunc(n.alive, conn.abort)
	defer stop()
	conn.relay()
}

// connect dials before it completes the handshake, so that the sandbox sees a
// refused connection as refused.
func (n *Network) connect(r *tcp.ForwarderRequest) (*connection, error) {
	address, err := n.destination(r.ID(), n.policy)
	if err != nil {
		return nil, err
	}
	out, err := n.dialer.DialContext(n.alive, "tcp", address)
	if err != nil {
		return nil, err
	}
	outside, ok := out.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connect to %s: not a TCP connection", address), out.Close())
	}
	var queue waiter.Queue
	endpoint, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		// The sandbox may have connected and reset in one breath.
		return nil, errors.Join(stackError("accept connection", terr), reset(outside))
	}
	endpoint.SocketOptions().SetDelayOption(false)
	room := buffersFor(len(n.connections))
	if room.stack < connectionBuffer {
		endpoint.SocketOptions().SetSendBufferSize(room.stack, true)
		endpoint.SocketOptions().SetReceiveBufferSize(room.stack, true)
		_ = outside.SetReadBuffer(int(room.stack)) // fails on a connection that is gone, which reading tells
		_ = outside.SetWriteBuffer(int(room.stack))
	}
	return &connection{
		copies:   room.copies,
		endpoint: endpoint,
		inside:   gonet.NewTCPConn(&queue, endpoint),
		outside:  outside,
	}, nil
}

func (n *Network) logRefused(addr tcpip.Address, port uint16, err error) {
	dst := netip.AddrPortFrom(toNetip(addr), port)
	n.log.Debug("refused", slog.String("destination", dst.String()), slog.Any("cause", err))
}

// connection is one TCP connection of the sandbox and its continuation outside.
type connection struct {
	copies   int            // bytes of a buffer for each direction
	endpoint tcpip.Endpoint // under inside
	inside   *gonet.TCPConn
	outside  *net.TCPConn
	once     sync.Once
}

// relay copies both ways until both directions have ended, or one has failed:
// then both ends are reset, so that nobody takes half a transfer for a whole.
func (c *connection) relay() {
	var back sync.WaitGroup
	back.Go(func() { c.copy(c.inside, c.outside, c.inside.CloseWrite) })
	c.copy(c.outside, c.inside, c.outside.CloseWrite)
	back.Wait()

	// Errors of a second close after abort, or of an option of an endpoint
	// that is gone, say nothing.
	timeout := tcpip.TCPUserTimeoutOption(lingerTimeout)
	_ = c.endpoint.SetSockOpt(&timeout)
	_ = c.inside.Close()
	_ = c.outside.Close()
}

func (c *connection) copy(to io.Writer, from io.Reader, end func() error) {
	// The wrappers hide ReadFrom and WriteTo, which would copy in smaller pieces.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, c.copies))
	if err != nil {
		c.abort()
		return
	}
	_ = end() // fails if the peer has gone already; the other direction will tell
}

// abort resets both ends.
func (c *connection) abort() {
	c.once.Do(func() {
		c.endpoint.Abort()
		_ = reset(c.outside)
	})
}

// reset closes a connection such that the peer sees it fail.
func reset(conn *net.TCPConn) error {
	return errors.Join(conn.SetLinger(0), conn.Close())
}
