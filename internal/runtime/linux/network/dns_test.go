//go:build linux

package network

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// nameserver answers from a table of addresses, over UDP truncated when there
// is more than one.
type nameserver map[string][]netip.Addr

func (s nameserver) answer(tb testing.TB, query []byte, whole bool) []byte {
	tb.Helper()
	var m dnsmessage.Message
	if !assert.NoError(tb, m.Unpack(query)) {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	addrs, known := s[m.Questions[0].Name.String()]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	m.Truncated = !whole && len(addrs) > 1
	for _, a := range addrs {
		if m.Truncated || m.Questions[0].Type != dnsmessage.TypeA {
			break
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: a.As4()},
		})
	}
	answer, err := m.Pack()
	assert.NoError(tb, err)
	return answer
}

// start serves on loopback, like the stub resolver of many a host.
func (s nameserver) start(t *testing.T) (address string) {
	t.Helper()
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	packets, err := net.ListenPacket("udp", stream.Addr().String())
	require.NoError(t, err)
	done := make(chan struct{}, 2)
	t.Cleanup(func() {
		assert.NoError(t, stream.Close())
		assert.NoError(t, packets.Close())
		<-done
		<-done
	})
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 512)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(s.answer(t, buf[:n], false), from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := stream.Accept()
			if err != nil {
				return
			}
			s.answerStream(t, conn)
		}
	}()
	return stream.Addr().String()
}

func (s nameserver) answerStream(t *testing.T, conn net.Conn) {
	defer shut(conn)
	var size uint16
	if binary.Read(conn, binary.BigEndian, &size) != nil {
		return
	}
	query := make([]byte, size)
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	answer := s.answer(t, query, true)
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}

// lookup resolves inside the namespace.
func lookup(t *testing.T, ns *namespace, name string) ([]string, error) {
	t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		return ns.dial(t, strings.TrimRight(network, "46"), GatewayIP+":53")
	}}
	return resolver.LookupHost(t.Context(), name)
}

func TestNames(t *testing.T) {
	world := startWorld(t)
	serveTCP(t, world.listen(t, "0.0.0.0:80"))
	many := make([]netip.Addr, 100)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
	}
	server := nameserver{
		"public.test.":   {netip.MustParseAddr(public)},
		"metadata.test.": {netip.MustParseAddr("169.254.169.254")},
		"many.test.":     many,
	}.start(t)

	for name, policy := range map[string]Policy{
		"everything":       {},
		"allowed networks": {Allow: prefixes(public + "/32")},
		"a single host":    {Allow: prefixes(), Hosts: []netip.AddrPort{netip.MustParseAddrPort(public + ":80")}},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox, _ := startSandbox(t, policy, Options{Resolver: server})
			addrs, err := lookup(t, sandbox, "public.test.")
			require.NoError(t, err)
			require.Equal(t, []string{public}, addrs)
			_, err = get(sandbox.mustDial(t, "tcp", addrs[0]+":80"), 10)
			require.NoError(t, err)

			addrs, err = lookup(t, sandbox, "many.test.")
			require.NoError(t, err, "the whole answer comes over TCP")
			assert.Len(t, addrs, len(many))

			_, err = lookup(t, sandbox, "nowhere.test.")
			var missing *net.DNSError
			require.ErrorAs(t, err, &missing)
			assert.True(t, missing.IsNotFound)

			// A name does not get around the refusal of its address.
			addrs, err = lookup(t, sandbox, "metadata.test.")
			require.NoError(t, err)
			_, err = sandbox.dial(t, "tcp", addrs[0]+":80")
			require.ErrorIs(t, err, unix.ECONNREFUSED)

			// The resolver is no way to the host's loopback.
			host := netip.MustParseAddrPort(server)
			_, err = sandbox.dial(t, "tcp", netip.AddrPortFrom(netip.MustParseAddr(HostIP), host.Port()).String())
			require.ErrorIs(t, err, unix.ECONNREFUSED)
		})
	}

	for name, policy := range map[string]Policy{"blocked": {Blocked: true}, "nothing allowed": {Allow: prefixes()}} {
		t.Run(name, func(t *testing.T) {
			sandbox, _ := startSandbox(t, policy, Options{Resolver: server})
			_, err := lookup(t, sandbox, "public.test.")
			require.ErrorContains(t, err, "connection refused")
			_, err = sandbox.dial(t, "tcp", GatewayIP+":53")
			require.ErrorIs(t, err, unix.ECONNREFUSED)
		})
	}
}

func TestSystemResolver(t *testing.T) {
	for text, want := range map[string]string{
		"": "127.0.0.1:53",
		"# nameserver 1.1.1.1\nsearch example\n\nnameserver\t127.0.0.53 \nnameserver 9.9.9.9\n": "127.0.0.53:53",
		"nameserver fe80::1%eth0\n": "[fe80::1%eth0]:53",
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := systemResolver(path)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	got, err := systemResolver(filepath.Join(t.TempDir(), "missing"))
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:53", got)
	_, err = systemResolver(t.TempDir())
	require.Error(t, err)
}
