package network

import (
	"fmt"
	"net/netip"
)

// Addresses of every sandbox's network. Each sandbox has a network of its own,
// so they are the same in all of them.
const (
	GatewayIP = "192.168.127.1"      // the default route and the resolver
	SandboxIP = "192.168.127.2"      // the sandbox's eth0
	HostIP    = "192.168.127.254"    // the host's loopback, as far as Policy.Hosts opens it
	HostName  = "host.seer.internal" // the name of HostIP in the sandbox
	// TunnelIP is the one address of the host's loopback that the sandbox has a
	// route to. What of it is open Policy.Open decides.
	TunnelIP = "127.83.69.82"

	subnet  = "192.168.127.0/24"
	dnsPort = 53
)

// Policy says which addresses a sandbox reaches. The zero value is every
// public address. Loopback, the host's own addresses, link-local, metadata,
// multicast and reserved ranges are refused whatever it says, and so are
// private ranges unless Private is set; only Hosts makes exceptions.
type Policy struct {
	// Blocked refuses everything, Hosts and name resolution included.
	Blocked bool
	// HostsOnly refuses everything but Hosts, name resolution included.
	HostsOnly bool
	// Allow, unless nil, refuses what none of its prefixes contains.
	Allow []netip.Prefix
	// Private opens private and carrier-grade ranges: 10/8, 172.16/12,
	// 192.168/16, 100.64/10 and fc00::/7.
	Private bool
	// Open, unless nil, reports whether TCP to an address of TunnelIP is open.
	// It is asked for every connection, and not where Allow is set.
	Open func(netip.AddrPort) bool
	// Hosts are opened one by one, whatever their address and whatever Allow
	// says. The sandbox reaches one on the host's loopback at HostIP and the
	// same port, any other at its own address.
	Hosts []netip.AddrPort
}

// RefusedError says why a policy refuses a destination.
type RefusedError struct {
	Destination netip.AddrPort
	Reason      string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("connect to %s: refused: %s", e.Destination, e.Reason)
}

// Resolves reports whether the sandbox may resolve names: it may as long as
// it can reach anything.
func (p Policy) Resolves() bool {
	return !p.Blocked && !p.HostsOnly && (p.Allow == nil || len(p.Allow)+len(p.Hosts) > 0)
}

// Destination returns where the host connects when the sandbox connects to
// dst, or a *RefusedError. The function own reports the host's own addresses.
func (p Policy) Destination(dst netip.AddrPort, own func(netip.Addr) bool) (netip.AddrPort, error) {
	refuse := func(reason string) (netip.AddrPort, error) {
		return netip.AddrPort{}, &RefusedError{Destination: dst, Reason: reason}
	}
	if p.Blocked {
		return refuse("the network is blocked")
	}
	if !dst.Addr().IsValid() {
		return refuse("not an address")
	}
	toHost := dst.Addr() == netip.MustParseAddr(HostIP)
	for _, host := range p.Hosts {
		host = netip.AddrPortFrom(host.Addr().Unmap(), host.Port())
		if host == dst || toHost && host.Addr().IsLoopback() && host.Port() == dst.Port() {
			return host, nil
		}
	}
	if toHost {
		return refuse("this port of the host is not opened")
	}
	if p.HostsOnly {
		return refuse("only chosen addresses are opened")
	}

	addr := dst.Addr().WithZone("") // a prefix contains no address that has a zone
	if p.Allow != nil && !contain(p.Allow, addr) {
		return refuse("not in the list of allowed networks")
	}
	if p.Allow == nil && p.Open != nil && dst.Addr() == netip.MustParseAddr(TunnelIP) && p.Open(dst) {
		return dst, nil
	}
	for _, class := range refusedClasses() {
		if class.private && p.Private {
			continue
		}
		if contain(class.prefixes, addr) {
			return refuse(class.reason)
		}
	}
	if own(addr) {
		return refuse("an address of the host itself")
	}
	return dst, nil
}

func contain(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
