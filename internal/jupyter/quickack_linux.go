package jupyter

import (
	"context"
	"net"
	"syscall"
)

// dialQuickAck dials connections whose data is acknowledged at once. The
// server writes a cell's messages in small pieces under Nagle's algorithm, so
// each delayed acknowledgement of ours would cost 40 ms.
func dialQuickAck(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		return &quickAckConn{TCPConn: tcp, raw: raw}, nil
	}
	return conn, nil
}

type quickAckConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// Read sets the option again each time, because the kernel takes it back.
func (c *quickAckConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == nil {
		// Only latency is lost if the socket does not take the option.
		_ = c.raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
		})
	}
	return n, err
}
