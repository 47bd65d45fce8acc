package network

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func noneOwn(netip.Addr) bool { return false }

func TestRefusedClasses(t *testing.T) {
	for _, tt := range []struct {
		addr   string
		reason string // "" = reachable
		opened bool   // by Private
	}{
		{addr: "1.1.1.1"},
		{addr: "203.0.113.9"},
		{addr: "100.63.255.255"},
		{addr: "100.128.0.0"},
		{addr: "172.15.255.255"},
		{addr: "172.32.0.0"},
		{addr: "2606:4700::1111"},
		{addr: "0.0.0.0", reason: "unspecified"},
		{addr: "0.1.2.3", reason: "unspecified"},
		{addr: "::", reason: "unspecified"},
		{addr: "127.0.0.1", reason: "loopback"},
		{addr: "127.255.255.254", reason: "loopback"},
		{addr: "::1", reason: "loopback"},
		{addr: "10.0.0.1", reason: "private", opened: true},
		{addr: "172.16.0.1", reason: "private", opened: true},
		{addr: "172.31.255.255", reason: "private", opened: true},
		{addr: "192.168.1.1", reason: "private", opened: true},
		{addr: "fd12::1", reason: "private", opened: true},
		{addr: "fd12::1%eth0", reason: "private", opened: true},
		{addr: "100.64.0.1", reason: "carrier-grade NAT", opened: true},
		{addr: "100.127.255.255", reason: "carrier-grade NAT", opened: true},
		{addr: "169.254.0.1", reason: "link-local"},
		{addr: "fe80::1", reason: "link-local"},
		{addr: "fe80::1%eth0", reason: "link-local"},
		{addr: "169.254.169.254", reason: "metadata service"},
		{addr: "100.100.100.200", reason: "metadata service"},
		{addr: "168.63.129.16", reason: "metadata service"},
		{addr: "fd00:ec2::254", reason: "metadata service"},
		{addr: "fd20:ce::254", reason: "metadata service"},
		{addr: "192.0.0.192", reason: "reserved"},
		{addr: "240.0.0.1", reason: "reserved"},
		{addr: "255.255.255.255", reason: "reserved"},
		{addr: "224.0.0.251", reason: "multicast"},
		{addr: "ff02::1", reason: "multicast"},
		{addr: "::ffff:1.1.1.1", reason: "an IPv4 address inside an IPv6 address"},
		{addr: "::ffff:169.254.169.254", reason: "an IPv4 address inside an IPv6 address"},
		{addr: "::7f00:1", reason: "an IPv4 address inside an IPv6 address"},
		{addr: "64:ff9b::a9fe:a9fe", reason: "an IPv4 address inside an IPv6 address"},
		{addr: "64:ff9b:1::1", reason: "an IPv4 address inside an IPv6 address"},
		{addr: "2002:7f00:1::", reason: "an IPv4 address inside an IPv6 address"},
		{addr: GatewayIP, reason: "the sandbox's own network"},
		{addr: SandboxIP, reason: "the sandbox's own network"},
		{addr: HostIP, reason: "this port of the host is not opened"},
	} {
		t.Run(tt.addr, func(t *testing.T) {
			dst := netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 80)
			for _, private := range []bool{false, true} {
				got, err := Policy{Private: private}.Destination(dst, noneOwn)
				if tt.reason == "" || tt.opened && private {
					require.NoError(t, err)
					assert.Equal(t, dst, got)
					continue
				}
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, tt.reason, refused.Reason)
				assert.Equal(t, dst, refused.Destination)
				assert.False(t, got.IsValid())
			}
		})
	}
}

func TestInvalidAddressIsRefused(t *testing.T) {
	_, err := Policy{}.Destination(netip.AddrPort{}, noneOwn)
	require.Error(t, err)
}

func TestOwnAddresses(t *testing.T) {
	dst := netip.MustParseAddrPort("203.0.113.9:80")
	own := func(a netip.Addr) bool { return a == dst.Addr() }
	_, err := Policy{Private: true, Allow: prefixes("0.0.0.0/0")}.Destination(dst, own)
	require.EqualError(t, err, "connect to 203.0.113.9:80: refused: an address of the host itself")

	got, err := Policy{Hosts: []netip.AddrPort{dst}}.Destination(dst, own)
	require.NoError(t, err)
	assert.Equal(t, dst, got)
}

func TestHosts(t *testing.T) {
	hosts := []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:8080"),
		netip.MustParseAddrPort("[::1]:9090"),
		netip.MustParseAddrPort("[::ffff:10.0.0.1]:443"),
		netip.MustParseAddrPort("169.254.169.254:80"),
	}
	for _, tt := range []struct{ dst, want string }{
		{HostIP + ":8080", "127.0.0.1:8080"},
		{HostIP + ":9090", "[::1]:9090"},
		{HostIP + ":8081", ""},
		{"10.0.0.1:443", "10.0.0.1:443"},
		{"10.0.0.1:80", ""},
		{"10.0.0.2:443", ""},
		{HostIP + ":443", ""},
		{"169.254.169.254:80", "169.254.169.254:80"},
		{"169.254.169.254:8080", ""},
	} {
		for _, allow := range [][]netip.Prefix{nil, {}, prefixes("203.0.113.0/24")} {
			p := Policy{Hosts: hosts, Allow: allow}
			got, err := p.Destination(netip.MustParseAddrPort(tt.dst), noneOwn)
			if tt.want == "" {
				require.Error(t, err, tt.dst)
				continue
			}
			require.NoError(t, err, tt.dst)
			assert.Equal(t, tt.want, got.String())

			only := Policy{Hosts: hosts, HostsOnly: true}
			got, err = only.Destination(netip.MustParseAddrPort(tt.dst), noneOwn)
			require.NoError(t, err, tt.dst)
			assert.Equal(t, tt.want, got.String())

			p.Blocked = true
			_, err = p.Destination(netip.MustParseAddrPort(tt.dst), noneOwn)
			require.Error(t, err, tt.dst)
		}
	}
}

func TestHostsOnly(t *testing.T) {
	p := Policy{HostsOnly: true, Hosts: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}}
	for _, dst := range []string{"1.1.1.1:443", "10.0.0.1:8080", GatewayIP + ":53", HostIP + ":80"} {
		_, err := p.Destination(netip.MustParseAddrPort(dst), noneOwn)
		require.Error(t, err, dst)
	}
	assert.False(t, p.Resolves())
}

func TestAllow(t *testing.T) {
	p := Policy{Allow: prefixes("203.0.113.0/24", "10.0.0.0/8", "127.0.0.0/8")}
	for dst, want := range map[string]bool{
		"203.0.113.255:80": true,
		"203.0.114.0:80":   false,
		"1.1.1.1:80":       false,
		"10.0.0.1:80":      false,
		"127.0.0.1:80":     false,
	} {
		_, err := p.Destination(netip.MustParseAddrPort(dst), noneOwn)
		assert.Equal(t, want, err == nil, "%s: %v", dst, err)
	}
	p.Private = true
	_, err := p.Destination(netip.MustParseAddrPort("10.0.0.1:80"), noneOwn)
	require.NoError(t, err)
	_, err = p.Destination(netip.MustParseAddrPort("10.0.0.1:80"), func(netip.Addr) bool { return true })
	require.Error(t, err)
}

func TestResolves(t *testing.T) {
	host := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")}
	assert.True(t, Policy{}.Resolves())
	assert.True(t, Policy{Allow: prefixes("1.1.1.1/32")}.Resolves())
	assert.True(t, Policy{Allow: []netip.Prefix{}, Hosts: host}.Resolves())
	assert.False(t, Policy{Allow: []netip.Prefix{}}.Resolves())
	assert.False(t, Policy{Blocked: true, Hosts: host, Allow: prefixes("1.1.1.1/32")}.Resolves())
}

// What net/netip knows of an address agrees with the table, for any address.
func TestRefusesWhatIsNotGlobal(t *testing.T) {
	check := func(addr netip.Addr, port uint16, private bool) bool {
		_, err := Policy{Private: private}.Destination(netip.AddrPortFrom(addr, port), noneOwn)
		never := !addr.IsGlobalUnicast() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.Is4In6()
		return err != nil || !never && (private || !addr.IsPrivate())
	}
	ipv4 := func(a uint32, port uint16, private bool) bool {
		return check(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a))), port, private)
	}
	ipv6 := func(a [16]byte, port uint16, private bool) bool {
		return check(netip.AddrFrom16(a), port, private)
	}
	require.NoError(t, quick.Check(ipv4, &quick.Config{MaxCount: 20000}))
	require.NoError(t, quick.Check(ipv6, &quick.Config{MaxCount: 5000}))
}

// Opening one thing never closes another, and a refusal names the destination.
func TestPrivateOnlyOpens(t *testing.T) {
	property := func(a uint32, port uint16) bool {
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a))), port)
		got, err := Policy{}.Destination(dst, noneOwn)
		opened, openedErr := Policy{Private: true}.Destination(dst, noneOwn)
		return err != nil || openedErr == nil && got == dst && opened == dst
	}
	require.NoError(t, quick.Check(property, nil))
}
