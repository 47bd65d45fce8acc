//go:build linux

package network

import (
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

const ownLifetime = 3 * time.Second

// ownAddresses are the addresses of the host, with the broadcast addresses of
// its networks, at most ownLifetime old.
type ownAddresses struct {
	mu       sync.Mutex
	read     time.Time
	prefixes []netip.Prefix
}

// contain reports whether addr is the host's own. While the addresses cannot
// be read every address is.
func (o *ownAddresses) contain(addr netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.read) > ownLifetime {
		routes, err := localRoutes(netlink.FAMILY_ALL)
		if err != nil {
			return true
		}
		o.prefixes = o.prefixes[:0]
		for _, route := range routes {
			if p, ok := routePrefix(route); ok {
				o.prefixes = append(o.prefixes, p)
			}
		}
		o.read = time.Now()
	}
	return contain(o.prefixes, addr)
}

func routePrefix(route netlink.Route) (netip.Prefix, bool) {
	if route.Dst == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}
