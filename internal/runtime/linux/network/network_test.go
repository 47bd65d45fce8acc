//go:build linux

package network

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const public = "203.0.113.10"

func TestTransfers(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	const size = 10 << 20
	want := noiseHash(t, size)
	for _, tt := range []struct {
		name  string
		flags uintptr
		mtu   int
	}{
		{"user namespace", syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, 0},
		{"no user namespace", syscall.CLONE_NEWNET, 0},
		{"small packets", syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sandbox := startNamespace(t, roleSandbox, tt.flags, mtuVariable+"="+strconv.Itoa(tt.mtu))
			serve(t, sandbox, Policy{}, Options{MTU: tt.mtu})
			got, err := get(sandbox.mustDial(t, "tcp", public+":80"), size)
			require.NoError(t, err)
			assert.Equal(t, want, got, "download")

			got, err = put(sandbox.mustDial(t, "tcp", public+":80"), size)
			require.NoError(t, err)
			assert.Equal(t, want, got, "upload")
		})
	}
}

func TestParallelConnections(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	sandbox, _ := startSandbox(t, Policy{}, Options{})
	const size = 100 << 10
	want := noiseHash(t, size)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			conn, err := sandbox.dial(t, "tcp", public+":80")
			if !assert.NoError(t, err) {
				return
			}
			defer shut(conn)
			transfer := get
			if i%2 == 0 {
				transfer = put
			}
			got, err := transfer(conn, size)
			assert.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	all.Wait()
}

func TestReach(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	serveTCP(t, hostListen(t, "0.0.0.0:81"))
	loopback := hostListen(t, "127.0.0.1:0")
	serveTCP(t, loopback)
	port := netip.MustParseAddrPort(loopback.Addr().String()).Port()

	// Without a policy between them all of it is there.
	for _, a := range worldAddrs {
		conn, err := net.Dial("tcp", a+":80")
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}

	always := []string{
		"169.254.1.1:80", "169.254.169.254:80", "100.100.100.200:80", "168.63.129.16:80", "192.0.0.192:80",
		hostAddr + ":81", "198.51.100.255:80", "255.255.255.255:80", "0.0.0.1:80",
		HostIP + ":81", GatewayIP + ":80", GatewayIP + ":81", "192.168.127.9:80",
		"[::ffff:169.254.169.254]:80",
	}
	private := []string{"10.9.9.9:80", "172.16.5.5:80", "192.168.77.7:80", "100.64.0.9:80", "[::ffff:10.9.9.9]:80"}
	open := []string{public + ":80", worldAddr + ":80", "[::ffff:203.0.113.10]:80"}
	hostPort := fmt.Sprintf("%s:%d", HostIP, port)

	for _, tt := range []struct {
		name             string
		policy           Policy
		reached, refused [][]string
	}{
		{"zero policy", Policy{}, [][]string{open}, [][]string{always, private, {hostPort}}},
		{"private", Policy{Private: true}, [][]string{open, private}, [][]string{always, {hostPort}}},
		{"blocked", Policy{Blocked: true, Hosts: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), port)}},
			nil, [][]string{open, always, private, {hostPort}}},
		{"allowed networks", Policy{Allow: prefixes("203.0.113.0/24", "10.0.0.0/8", "169.254.0.0/16")},
			[][]string{{public + ":80"}}, [][]string{{worldAddr + ":80"}, always, private, {hostPort}}},
		{"single hosts", Policy{Hosts: []netip.AddrPort{
			netip.MustParseAddrPort(loopback.Addr().String()),
			netip.MustParseAddrPort(hostAddr + ":81"),
			netip.MustParseAddrPort("10.9.9.9:80"),
		}},
			[][]string{open, {hostPort, hostAddr + ":81", "10.9.9.9:80"}},
			[][]string{always[:5], {"172.16.5.5:80", HostIP + ":81", fmt.Sprintf("%s:%d", hostAddr, port)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sandbox, _ := startSandbox(t, tt.policy, Options{})
			for _, addresses := range tt.reached {
				for _, a := range addresses {
					got, err := get(sandbox.mustDial(t, "tcp", a), 1000)
					require.NoError(t, err, a)
					assert.Equal(t, noiseHash(t, 1000), got, a)
				}
			}
			for _, addresses := range tt.refused {
				for _, a := range addresses {
					_, err := sandbox.dial(t, "tcp", a)
					if a == "255.255.255.255:80" || a == "0.0.0.1:80" {
						assert.Error(t, err, a) // the sandbox's own kernel has a word in this
						continue
					}
					assert.ErrorIs(t, err, unix.ECONNREFUSED, a)
				}
			}
		})
	}
}

func hostListen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	require.NoError(t, err)
	return l
}

func TestIPv6IsUnreachable(t *testing.T) {
	sandbox, _ := startSandbox(t, Policy{}, Options{})
	_, err := sandbox.dial(t, "tcp", "[2001:db8::1]:80")
	require.Error(t, err)
	assert.ErrorIs(t, err, unix.ENETUNREACH)
}

func TestRefusedByTheDestination(t *testing.T) {
	startWorld(t)
	sandbox, _ := startSandbox(t, Policy{}, Options{})
	_, err := sandbox.dial(t, "tcp", public+":9")
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}

func TestResetsPass(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	sandbox, _ := startSandbox(t, Policy{}, Options{})

	conn := sandbox.mustDial(t, "tcp", public+":80")
	_, err := fmt.Fprintf(conn, "reset %d\n", 100<<10)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, conn)
	require.ErrorIs(t, err, unix.ECONNRESET, "a transfer cut short is not a whole one")

	l := world.listen(t, "0.0.0.0:81")
	defer shut(l)
	conn = sandbox.mustDial(t, "tcp", public+":81")
	server, err := l.Accept()
	require.NoError(t, err)
	defer shut(server)
	require.NoError(t, asTCP(conn).SetLinger(0))
	require.NoError(t, conn.Close())
	_, err = io.Copy(io.Discard, server)
	require.ErrorIs(t, err, unix.ECONNRESET, "a reset is not an end")
}

func TestUDP(t *testing.T) {
	world := startWorld(t)
	echoPackets(t, world.listenPacket(t, public+":7"))
	echoPackets(t, world.listenPacket(t, "169.254.169.254:7"))
	sandbox, n := startSandbox(t, Policy{}, Options{})

	for _, size := range []int{0, 1, 1400, 9000, 65507} {
		conn := sandbox.mustDial(t, "udp", public+":7")
		want := make([]byte, size)
		_, _ = io.ReadFull(noise(), want)
		for range 3 {
			_, err := conn.Write(want)
			require.NoError(t, err)
			got := make([]byte, maxDatagram)
			size, err := conn.Read(got)
			require.NoError(t, err)
			assert.Equal(t, want, got[:size])
		}
	}

	for _, a := range []string{"169.254.169.254:7", "10.9.9.9:7", HostIP + ":7", hostAddr + ":7", GatewayIP + ":7"} {
		conn := sandbox.mustDial(t, "udp", a)
		_, err := conn.Write([]byte("hello"))
		require.NoError(t, err, a)
		_, err = conn.Read(make([]byte, 16))
		assert.ErrorIs(t, err, unix.ECONNREFUSED, a)
	}

	defer takeAll(n.datagrams)()
	conn := sandbox.mustDial(t, "udp", public+":7")
	_, err := conn.Write([]byte("one too many"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 16))
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}

func TestTooManyConnections(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	sandbox, n := startSandbox(t, Policy{}, Options{})
	free := takeAll(n.connections)
	_, err := sandbox.dial(t, "tcp", public+":80")
	free()
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	_, err = get(sandbox.mustDial(t, "tcp", public+":80"), 10)
	require.NoError(t, err)
}

func TestPingReachesTheGatewayAlone(t *testing.T) {
	startWorld(t)
	sandbox, _ := startSandbox(t, Policy{}, Options{})
	fd := sandbox.socket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	defer shut(os.NewFile(uintptr(fd), "icmp"))
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // type, code, checksum, id, sequence
	for _, a := range []string{public, "169.254.169.254", GatewayIP} {
		_, to := sockaddr(t, a+":0")
		require.NoError(t, unix.Sendto(fd, echo, 0, to))
	}
	_, from, err := unix.Recvfrom(fd, make([]byte, 256), 0)
	require.NoError(t, err)
	_, gateway := sockaddr(t, GatewayIP+":0")
	assert.Equal(t, gateway, from)
}

func TestLocalRoutesAcknowledgeAtOnce(t *testing.T) {
	sandbox, _ := startSandbox(t, Policy{}, Options{})
	quick := sandbox.report.QuickACK
	assert.Subset(t, quick, map[string]bool{"127.0.0.0/8": true, "127.0.0.1/32": true, SandboxIP + "/32": true})
}

func TestClose(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	echoPackets(t, world.listenPacket(t, public+":7"))
	sandbox := startNamespace(t, roleSandbox, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)

	running, descriptors := goleak.IgnoreCurrent(), countDescriptors(t)
	n, err := Serve(sandbox.first, Policy{}, Options{Resolver: public + ":9"})
	require.NoError(t, err)

	var conns []net.Conn
	for range 20 {
		conn := sandbox.mustDial(t, "tcp", public+":80")
		_, err := fmt.Fprint(conn, "hold 0\n")
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	flow := sandbox.mustDial(t, "udp", public+":7")
	_, err = flow.Write([]byte("hello"))
	require.NoError(t, err)
	_, err = flow.Read(make([]byte, 16))
	require.NoError(t, err)

	// A connection that is still being dialled: nobody is at that address.
	dialling := sandbox.socket(t, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, unix.SetNonblock(dialling, true))
	_, nobody := sockaddr(t, "203.0.113.99:80")
	require.ErrorIs(t, unix.Connect(dialling, nobody), unix.EINPROGRESS)
	require.Eventually(t, func() bool { return len(n.connections) == len(conns)+1 }, 10*time.Second, time.Millisecond)

	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	for _, conn := range conns {
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, unix.ECONNRESET, "a reset is not an end")
		require.NoError(t, conn.Close())
	}
	require.NoError(t, flow.Close())
	require.NoError(t, unix.Close(dialling))
	assert.Empty(t, n.connections)
	assert.Empty(t, n.datagrams)
	goleak.VerifyNone(t, running)
	require.Eventually(t, func() bool { return countDescriptors(t) == descriptors-1 }, 10*time.Second, time.Millisecond)
}

// The sandbox goes first when it is killed.
func TestCloseAfterTheSandbox(t *testing.T) {
	needNamespaces(t)
	running := goleak.IgnoreCurrent()
	var n *Network
	t.Run("sandbox", func(t *testing.T) {
		sandbox := startNamespace(t, roleSandbox, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
		var err error
		n, err = Serve(sandbox.first, Policy{}, Options{})
		require.NoError(t, err)
	})
	require.NoError(t, n.Close())
	goleak.VerifyNone(t, running)
}

func TestServeOwnsTheDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer shut(w)
	defer shut(r)
	fd, err := unix.Dup(int(r.Fd()))
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fd, true))
	_, err = Serve(-1, Policy{}, Options{})
	require.Error(t, err)
	n, err := Serve(fd, Policy{}, Options{})
	if err == nil {
		require.NoError(t, n.Close())
	}
	require.ErrorIs(t, unix.Close(fd), unix.EBADF)
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// takeAll takes what is left of the slots, until free.
func takeAll(s slots) (free func()) {
	taken := 0
	for s.take() {
		taken++
	}
	return func() {
		for range taken {
			s.free()
		}
	}
}
