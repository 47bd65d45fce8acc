package network

import (
	"net/netip"
	"sync"
)

// class is a set of addresses that are refused for one reason.
type class struct {
	reason   string
	private  bool // Policy.Private opens it
	prefixes []netip.Prefix
}

// refusedClasses is in the order of the checks: a metadata service inside a
// private range is refused even where the range is open.
var refusedClasses = sync.OnceValue(func() []class {
	return []class{
		{reason: "the sandbox's own network", prefixes: prefixes(subnet)},
		{reason: "unspecified", prefixes: prefixes("0.0.0.0/8", "::/128")},
		{reason: "loopback", prefixes: prefixes("127.0.0.0/8", "::1/128")},
		{reason: "metadata service", prefixes: prefixes(
			"169.254.169.254/32",
			"100.100.100.200/32", // Alibaba
			"168.63.129.16/32",   // Azure's wire server, a public address
			"fd00:ec2::254/128",  // EC2
			"fd20:ce::254/128",   // Compute Engine
		)},
		{reason: "link-local", prefixes: prefixes("169.254.0.0/16", "fe80::/10")},
		{reason: "multicast", prefixes: prefixes("224.0.0.0/4", "ff00::/8")},
		{reason: "reserved", prefixes: prefixes(
			"192.0.0.0/24", // protocol assignments; Oracle's metadata service
			"240.0.0.0/4",  // with the broadcast address
			"fec0::/10",    // site-local, deprecated
		)},
		{reason: "an IPv4 address inside an IPv6 address", prefixes: prefixes(
			"::/96",           // compatible
			"::ffff:0:0/96",   // mapped
			"::ffff:0:0:0/96", // translated
			"64:ff9b::/96",    // NAT64
			"64:ff9b:1::/48",  // NAT64, local use
			"2001::/32",       // Teredo
			"2002::/16",       // 6to4
		)},
		{reason: "private", private: true, prefixes: prefixes(
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
		)},
		{reason: "carrier-grade NAT", private: true, prefixes: prefixes("100.64.0.0/10")},
	}
})

func prefixes(cidrs ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(cidrs))
	for i, c := range cidrs {
		ps[i] = netip.MustParsePrefix(c)
	}
	return ps
}
