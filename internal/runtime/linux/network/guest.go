//go:build linux

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	guestLink   = "eth0"
	gatewayLink = "gw0"

	// defaultMTU is near the largest: inside one machine fewer, larger packets
	// are all that counts.
	defaultMTU = 65520

	packetBuffer = 8 << 20 // bytes; less where the kernel does not grant it

	noIPv6Address = 1 // IN6_ADDR_GEN_MODE_NONE of linux/if_link.h
)

// GuestConfig configures SetupGuest.
type GuestConfig struct {
	MTU int // bytes; 0 = 65520. Options.MTU must be the same
}

// SetupGuest sets up the network of the sandbox's namespace, in which the
// calling thread runs and has CAP_NET_ADMIN: loopback, eth0 with SandboxIP, and
// the default route through GatewayIP. It returns the AF_PACKET socket of the
// far end, close-on-exec, for the host to pass to Serve. The namespace lives at
// least as long as that descriptor is open anywhere.
func SetupGuest(cfg GuestConfig) (fd int, err error) {
	if cfg.MTU == 0 {
		cfg.MTU = defaultMTU
	}
	if err := linkUp("lo"); err != nil {
		return -1, err
	}
	if err := addPair(cfg.MTU); err != nil {
		return -1, err
	}
	if err := acknowledgeAtOnce(); err != nil {
		return -1, err
	}
	if err := routeTunnels(); err != nil {
		return -1, err
	}
	return packetSocket()
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return nil
}

// addPair makes eth0 and gw0. Frames for the gateway's address reach gw0, which
// has another one: the kernel leaves them to the packet socket.
func addPair(mtu int) error {
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: guestLink, MTU: mtu},
		PeerName:  gatewayLink,
		PeerMTU:   uint32(mtu),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add link %s: %w", guestLink, err)
	}
	for _, name := range []string{gatewayLink, guestLink} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		// Without a link-local address IPv6 is unreachable at once. A kernel
		// without IPv6 has nothing to switch off.
		_ = netlink.LinkSetIP6AddrGenMode(link, noIPv6Address)
		if name == gatewayLink {
			if err := netlink.LinkSetARPOff(link); err != nil {
				return fmt.Errorf("set link %s noarp: %w", name, err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set link %s up: %w", name, err)
		}
	}

	guest, err := netlink.LinkByName(guestLink)
	if err != nil {
		return fmt.Errorf("find link %s: %w", guestLink, err)
	}
	bits := netip.MustParsePrefix(subnet).Bits()
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(SandboxIP), Mask: net.CIDRMask(bits, 32)}}
	if err := netlink.AddrAdd(guest, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", SandboxIP, guestLink, err)
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(GatewayIP)}); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}

// acknowledgeAtOnce turns delayed acknowledgements off for connections inside
// the sandbox. Programs that write a message in two parts (Jupyter's kernel
// channels do) otherwise wait 40 ms for each.
func acknowledgeAtOnce() error {
	routes, err := localRoutes(netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if route.Type != unix.RTN_LOCAL {
			continue
		}
		route.QuickACK = 1
		if err := netlink.RouteChange(&route); err != nil {
			return fmt.Errorf("set quickack on route %s: %w", route.Dst, err)
		}
	}
	return nil
}

// routeTunnels sends TunnelIP, which is an address of loopback, to the gateway.
func routeTunnels() error {
	link, err := netlink.LinkByName(guestLink)
	if err != nil {
		return fmt.Errorf("find link %s: %w", guestLink, err)
	}
	if err := acceptLoopback(link.Attrs().Index); err != nil {
		return err
	}
	// The table that comes first has all of loopback; the longer prefix wins.
	err = netlink.RouteAdd(&netlink.Route{
		Table:     unix.RT_TABLE_LOCAL,
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: net.ParseIP(TunnelIP).To4(), Mask: net.CIDRMask(32, 32)},
		Gw:        net.ParseIP(GatewayIP),
		Src:       net.ParseIP(SandboxIP),
	})
	if err != nil {
		return fmt.Errorf("add route to %s: %w", TunnelIP, err)
	}
	return nil
}

// acceptLoopback lets a link carry addresses of loopback, which the kernel
// otherwise drops there (route_localnet).
func acceptLoopback(link int) error {
	const (
		inetConf      = 1  // IFLA_INET_CONF of linux/if_link.h
		routeLocalnet = 26 // IPV4_DEVCONF_ROUTE_LOCALNET of linux/ip.h
	)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(link)
	families := nl.NewRtAttr(unix.IFLA_AF_SPEC|unix.NLA_F_NESTED, nil)
	settings := families.AddRtAttr(unix.AF_INET|unix.NLA_F_NESTED, nil).AddRtAttr(inetConf|unix.NLA_F_NESTED, nil)
	settings.AddRtAttr(routeLocalnet, nl.Uint32Attr(1))
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.AddData(message)
	request.AddData(families)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("let link %s carry addresses of loopback: %w", guestLink, err)
	}
	return nil
}

// localRoutes reads the kernel's table of the addresses of this namespace:
// local, broadcast, anycast and multicast.
func localRoutes(family int) ([]netlink.Route, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL}
	routes, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list local routes: %w", err)
	}
	return routes, nil
}

func packetSocket() (int, error) {
	link, err := netlink.LinkByName(gatewayLink)
	if err != nil {
		return -1, fmt.Errorf("find link %s: %w", gatewayLink, err)
	}
	// Protocol 0: nothing is received before the bind chooses the link.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	if err := preparePacketSocket(fd, link.Attrs().Index); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func preparePacketSocket(fd, link int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fmt.Errorf("set up packet socket: %w", err)
	}
	for plain, forced := range map[int]int{
		unix.SO_RCVBUF: unix.SO_RCVBUFFORCE,
		unix.SO_SNDBUF: unix.SO_SNDBUFFORCE,
	} {
		// Beyond the system's limit for those who may, else up to it.
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, forced, packetBuffer) == nil {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, packetBuffer); err != nil {
			return fmt.Errorf("set buffer of packet socket: %w", err)
		}
	}
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: link}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	return nil
}
