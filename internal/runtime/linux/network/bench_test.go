//go:build linux

package network

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkTransfer compares bytes through a sandbox's network with bytes
// over the host's loopback.
func BenchmarkTransfer(b *testing.B) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bulk(conn)
		}
	}()
	b.Cleanup(func() {
		require.NoError(b, l.Close())
		<-done
	})
	addr := netip.MustParseAddrPort(l.Addr().String())
	sandbox, _ := startSandbox(b, Policy{Hosts: []netip.AddrPort{addr}}, Options{})

	for name, dial := range map[string]func() (net.Conn, error){
		"loopback": func() (net.Conn, error) { return net.Dial("tcp", addr.String()) },
		"sandbox": func() (net.Conn, error) {
			return sandbox.dial(b, "tcp", fmt.Sprintf("%s:%d", HostIP, addr.Port()))
		},
	} {
		b.Run("download/"+name, func(b *testing.B) {
			conn, err := dial()
			require.NoError(b, err)
			defer shut(conn)
			_, err = conn.Write([]byte{'d'})
			require.NoError(b, err)
			b.SetBytes(chunk)
			buf := make([]byte, chunk)
			for b.Loop() {
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("upload/"+name, func(b *testing.B) {
			conn, err := dial()
			require.NoError(b, err)
			defer shut(conn)
			_, err = conn.Write([]byte{'u'})
			require.NoError(b, err)
			b.SetBytes(chunk)
			buf := make([]byte, chunk)
			for b.Loop() {
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const chunk = 1 << 20

// bulk sends or takes bytes until the other side has had enough.
func bulk(conn net.Conn) {
	defer shut(conn)
	buf := make([]byte, chunk)
	if _, err := io.ReadFull(conn, buf[:1]); err != nil {
		return
	}
	if buf[0] == 'u' {
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, buf)
		return
	}
	for {
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}
