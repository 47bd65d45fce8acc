//go:build linux

package guest

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
)

type dialRequest struct{ Port uint16 }

// dial connects to a port from inside and passes the connection out.
func dial(c conversation, r *dialRequest) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	port := strconv.Itoa(int(r.Port))
	conn, err := d.Dial("tcp4", net.JoinHostPort("127.0.0.1", port))
	if errors.Is(err, syscall.ECONNREFUSED) {
		var second error
		if conn, second = d.Dial("tcp4", net.JoinHostPort(network.SandboxIP, port)); second == nil {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.New("dial: not a TCP connection")
	}
	f, err := tcp.File()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return c.send(answer{}, int(f.Fd()))
}
