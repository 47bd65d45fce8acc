//go:build linux

package network

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A sandbox reaches of the host's loopback what is a tunnel just now, and
// nothing that listens beside it, on every address or with another protocol.
func TestTunnelsAloneAreReached(t *testing.T) {
	startWorld(t)
	tunnel := hostListen(t, TunnelIP+":0")
	serveTCP(t, tunnel)
	everywhere := hostListen(t, "0.0.0.0:0")
	serveTCP(t, everywhere)
	port := netip.MustParseAddrPort(everywhere.Addr().String()).Port()
	datagrams, err := net.ListenPacket("udp4", tunnel.Addr().String())
	require.NoError(t, err)
	echoPackets(t, datagrams)
	open := func(address netip.AddrPort) bool { return address.String() == tunnel.Addr().String() }

	sandbox, n := startSandbox(t, Policy{Open: open}, Options{})
	got, err := get(sandbox.mustDial(t, "tcp", tunnel.Addr().String()), 1<<20)
	require.NoError(t, err)
	assert.Equal(t, noiseHash(t, 1<<20), got)
	for _, address := range []string{fmt.Sprintf("%s:%d", TunnelIP, port), fmt.Sprintf("%s:%d", HostIP, port), "127.83.69.83:1", "127.0.0.1:1"} {
		_, err := sandbox.dial(t, "tcp", address)
		require.ErrorIs(t, err, unix.ECONNREFUSED, address)
	}
	flow := sandbox.mustDial(t, "udp", tunnel.Addr().String())
	_, err = flow.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = flow.Read(make([]byte, 16))
	require.ErrorIs(t, err, unix.ECONNREFUSED)

	free := takeAll(n.neighbours)
	_, err = sandbox.dial(t, "tcp", tunnel.Addr().String())
	require.ErrorIs(t, err, unix.ECONNREFUSED, "one sandbox does not take up another's tunnel")
	free()

	for name, policy := range map[string]Policy{
		"no tunnels":       {},
		"blocked":          {Blocked: true, Open: open},
		"chosen hosts":     {HostsOnly: true, Open: open},
		"allowed networks": {Allow: prefixes("127.0.0.0/8"), Open: open},
	} {
		sandbox, _ := startSandbox(t, policy, Options{})
		_, err := sandbox.dial(t, "tcp", tunnel.Addr().String())
		require.ErrorIs(t, err, unix.ECONNREFUSED, name)
	}
}

// The networks of one program share what descriptors there are, and none takes
// all of them.
func TestNetworksShareABudget(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	budget := NewBudget(0) // as few as there can be
	greedy := startNamespace(t, roleSandbox, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
	serve(t, greedy, Policy{}, Options{Budget: budget})
	for range budget.each {
		conn := greedy.mustDial(t, "tcp", public+":80")
		t.Cleanup(func() { shut(conn) })
	}
	_, err := greedy.dial(t, "tcp", public+":80")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	other := startNamespace(t, roleSandbox, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
	serve(t, other, Policy{}, Options{Budget: budget})
	_, err = get(other.mustDial(t, "tcp", public+":80"), 10)
	require.NoError(t, err)
	defer takeAll(budget.all)()
	_, err = other.dial(t, "tcp", public+":80")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}

// As many connections as there can be, none of which is read, hold what a few
// would, and a further one is as good as any.
func TestUnreadConnectionsAreBounded(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	sandbox, n := startSandbox(t, Policy{}, Options{})
	before := heap()
	const many = maxConnections / 2
	for range many {
		conn := sandbox.mustDial(t, "tcp", public+":80")
		t.Cleanup(func() { shut(conn) })
		_, err := fmt.Fprintf(conn, "get %d\n", 4<<20)
		require.NoError(t, err)
	}
	got, err := get(sandbox.mustDial(t, "tcp", public+":80"), 1<<20)
	require.NoError(t, err)
	assert.Equal(t, noiseHash(t, 1<<20), got)
	assert.Greater(t, len(n.connections), many-1)
	assert.Less(t, heap()-before, int64(300<<20), "bytes for %d connections", many)

	var most int64
	for i := range maxConnections {
		room := buffersFor(i + 1)
		most += room.stack + int64(2*room.copies)
	}
	assert.Less(t, most, int64(128<<20), "bytes for %d connections", maxConnections)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
