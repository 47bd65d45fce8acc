//go:build linux

package network

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// packetPair is a datagram connection and its peer, over loopback.
func packetPair(t *testing.T) (conn net.Conn, peer net.PacketConn) {
	t.Helper()
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, peer.Close()) })
	conn, err = net.Dial("udp", peer.LocalAddr().String())
	require.NoError(t, err)
	return conn, peer
}

func TestIdleFlowEnds(t *testing.T) {
	inside, sandbox := packetPair(t)
	outside, world := packetPair(t)
	done := make(chan struct{})
	go func() {
		relayDatagrams(t.Context(), inside, outside, 50*time.Millisecond)
		close(done)
	}()
	for from, to := range map[net.PacketConn]net.PacketConn{sandbox: world, world: sandbox} {
		conn := inside
		if from == world {
			conn = outside
		}
		_, err := from.WriteTo([]byte("hello"), conn.LocalAddr())
		require.NoError(t, err)
		got := make([]byte, 16)
		n, _, err := to.ReadFrom(got)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(got[:n]))
	}
	<-done
	_, err := outside.Write(nil)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = inside.Write(nil)
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestFlowEndsWithItsContext(t *testing.T) {
	inside, _ := packetPair(t)
	outside, _ := packetPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		relayDatagrams(ctx, inside, outside, time.Hour)
		close(done)
	}()
	cancel()
	<-done
	_, err := outside.Write(nil)
	require.ErrorIs(t, err, net.ErrClosed)
}
