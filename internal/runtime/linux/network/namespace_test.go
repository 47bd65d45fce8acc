//go:build linux

package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The tests run in a network namespace that stands for the host. Beside it is
// the world, a namespace with every address that a sandbox could want, linked
// to the host, and a namespace for each sandbox. The processes in the latter
// two only open sockets there and pass them to the test.
const (
	roleVariable = "SEER_NETWORK_TEST_ROLE"
	roleHost     = "host"
	roleWorld    = "world"
	roleSandbox  = "sandbox"

	mtuVariable = "SEER_NETWORK_TEST_MTU"

	uplink    = "up0"
	hostAddr  = "198.51.100.1"
	worldAddr = "198.51.100.2"
)

var worldAddrs = []string{
	worldAddr, "203.0.113.10", "10.9.9.9", "172.16.5.5", "192.168.77.7", "100.64.0.9",
	"169.254.1.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
}

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleSandbox:
		exitWith(sandboxMain())
	case roleWorld:
		exitWith(worldMain())
	case roleHost:
		if err := linkUp("lo"); err != nil {
			exitWith(err)
		}
		goleak.VerifyTestMain(m)
	default:
		cmd, err := startAsHost()
		if err == nil {
			exitWith(cmd.Wait())
		}
		noNamespaces = err
		os.Exit(m.Run())
	}
}

// noNamespaces says why the tests that need namespaces are skipped.
var noNamespaces error

func exitWith(err error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startAsHost runs the same tests in a namespace of their own, with a user
// namespace where the user may have one.
func startAsHost() (*exec.Cmd, error) {
	runtime.LockOSThread() // the tests end with this thread
	var tries error
	for _, flags := range []uintptr{syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, syscall.CLONE_NEWNET} {
		cmd := command(roleHost, flags, os.Args[1:]...)
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		tries = errors.Join(tries, err)
	}
	return nil, tries
}

func command(role string, flags uintptr, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if flags&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// report is what a helper process says once its namespace is set up.
type report struct {
	Error    string
	QuickACK map[string]bool // by destination of a local route
}

func sandboxMain() error {
	var cfg GuestConfig
	if mtu := os.Getenv(mtuVariable); mtu != "" {
		if _, err := fmt.Sscan(mtu, &cfg.MTU); err != nil {
			return err
		}
	}
	fd, err := SetupGuest(cfg)
	if err != nil {
		return send(report{Error: err.Error()})
	}
	routes, err := localRoutes(netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	quick := map[string]bool{}
	for _, r := range routes {
		if r.Type == unix.RTN_LOCAL {
			quick[r.Dst.String()] = r.QuickACK == 1
		}
	}
	if err := send(report{QuickACK: quick}, fd); err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	return serveSockets()
}

func worldMain() error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: uplink},
		PeerName:      uplink,
		PeerNamespace: netlink.NsPid(os.Getppid()),
	}
	err := errors.Join(linkUp("lo"), netlink.LinkAdd(pair), linkUp(uplink))
	for _, a := range worldAddrs {
		bits := 32
		if a == worldAddr {
			bits = 24
		}
		err = errors.Join(err, addAddr(a, bits))
	}
	if err != nil {
		return send(report{Error: err.Error()})
	}
	if err := send(report{}); err != nil {
		return err
	}
	return serveSockets()
}

func addAddr(ip string, bits int) error {
	link, err := netlink.LinkByName(uplink)
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(bits, 32)}})
}

const control = 3 // descriptor of a helper process

func send(r report, fds ...int) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return unix.Sendmsg(control, text, unix.UnixRights(fds...), nil, 0)
}

// serveSockets opens a socket for each request of domain, type and protocol.
func serveSockets() error {
	request := make([]byte, 3)
	for {
		n, err := unix.Read(control, request)
		if n != len(request) || err != nil {
			return err
		}
		fd, err := unix.Socket(int(request[0]), int(request[1])|unix.SOCK_CLOEXEC, int(request[2]))
		if err != nil {
			return err
		}
		if err := errors.Join(send(report{}, fd), unix.Close(fd)); err != nil {
			return err
		}
	}
}

func needNamespaces(tb testing.TB) {
	tb.Helper()
	if noNamespaces != nil {
		tb.Skipf("needs network namespaces (a user namespace, or root): %v", noNamespaces)
	}
}

// namespace is a helper process, whose namespace lends sockets.
type namespace struct {
	mu      sync.Mutex
	control int
	report  report
	first   int // descriptor that came with the report, or -1
}

func startNamespace(tb testing.TB, role string, flags uintptr, env ...string) *namespace {
	tb.Helper()
	needNamespaces(tb)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(tb, err)
	theirs := os.NewFile(uintptr(pair[1]), "control")
	cmd := command(role, flags)
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // not a second for each
	cmd.Env = append(cmd.Env, env...)
	cmd.ExtraFiles = []*os.File{theirs}
	// The death of a thread of this process is not the end of the test.
	cmd.SysProcAttr.Pdeathsig = 0
	require.NoError(tb, cmd.Start())
	require.NoError(tb, theirs.Close())

	ns := &namespace{control: pair[0]}
	tb.Cleanup(func() {
		require.NoError(tb, unix.Close(ns.control)) // ends the helper
		require.NoError(tb, cmd.Wait())
	})
	ns.report, ns.first = ns.receive(tb)
	require.Empty(tb, ns.report.Error)
	return ns
}

func (ns *namespace) receive(tb testing.TB) (r report, fd int) {
	tb.Helper()
	text, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, rn, _, _, err := unix.Recvmsg(ns.control, text, rights, unix.MSG_CMSG_CLOEXEC)
	require.NoError(tb, err)
	require.NotZero(tb, n, "the helper process has ended")
	require.NoError(tb, json.Unmarshal(text[:n], &r))
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	require.NoError(tb, err)
	fd = -1
	if len(messages) == 1 {
		fds, err := unix.ParseUnixRights(&messages[0])
		require.NoError(tb, err)
		fd = fds[0]
	}
	return r, fd
}

// socket opens a socket in the namespace.
func (ns *namespace) socket(tb testing.TB, domain, typ, proto int) int {
	tb.Helper()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	_, err := unix.Write(ns.control, []byte{byte(domain), byte(typ), byte(proto)})
	require.NoError(tb, err)
	_, fd := ns.receive(tb)
	return fd
}

// dial connects from the namespace to a numeric address.
func (ns *namespace) dial(tb testing.TB, network, address string) (net.Conn, error) {
	tb.Helper()
	domain, sa := sockaddr(tb, address)
	fd := ns.socket(tb, domain, sockType(network), 0)
	f := os.NewFile(uintptr(fd), address)
	defer shut(f)
	if err := unix.Connect(fd, sa); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

func (ns *namespace) mustDial(tb testing.TB, network, address string) net.Conn {
	tb.Helper()
	conn, err := ns.dial(tb, network, address)
	require.NoError(tb, err)
	tb.Cleanup(func() { shut(conn) })
	return conn
}

func (ns *namespace) bind(tb testing.TB, network, address string) *os.File {
	tb.Helper()
	domain, sa := sockaddr(tb, address)
	fd := ns.socket(tb, domain, sockType(network), 0)
	require.NoError(tb, unix.Bind(fd, sa))
	return os.NewFile(uintptr(fd), address)
}

func (ns *namespace) listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	f := ns.bind(tb, "tcp", address)
	defer shut(f)
	require.NoError(tb, unix.Listen(int(f.Fd()), 1024))
	l, err := net.FileListener(f)
	require.NoError(tb, err)
	return l
}

func (ns *namespace) listenPacket(tb testing.TB, address string) net.PacketConn {
	tb.Helper()
	f := ns.bind(tb, "udp", address)
	defer shut(f)
	c, err := net.FilePacketConn(f)
	require.NoError(tb, err)
	return c
}

func sockType(network string) int {
	if network == "udp" {
		return unix.SOCK_DGRAM
	}
	return unix.SOCK_STREAM
}

func sockaddr(tb testing.TB, address string) (domain int, sa unix.Sockaddr) {
	tb.Helper()
	ap, err := netip.ParseAddrPort(address)
	require.NoError(tb, err)
	if ap.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

// startWorld starts the world and links it to the host. Its cleanup takes the
// link away again.
func startWorld(tb testing.TB) *namespace {
	tb.Helper()
	world := startNamespace(tb, roleWorld, syscall.CLONE_NEWNET)
	tb.Cleanup(func() { // the kernel would take its time
		up, err := netlink.LinkByName(uplink)
		require.NoError(tb, err)
		require.NoError(tb, netlink.LinkDel(up))
	})
	require.NoError(tb, addAddr(hostAddr, 24))
	require.NoError(tb, linkUp(uplink))
	require.NoError(tb, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(worldAddr)}))
	return world
}

// startSandbox starts a sandbox whose network is served with the policy.
func startSandbox(tb testing.TB, policy Policy, opts Options) (*namespace, *Network) {
	tb.Helper()
	ns := startNamespace(tb, roleSandbox, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
	return ns, serve(tb, ns, policy, opts)
}

func serve(tb testing.TB, ns *namespace, policy Policy, opts Options) *Network {
	tb.Helper()
	n, err := Serve(ns.first, policy, opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, n.Close()) })
	return n
}
