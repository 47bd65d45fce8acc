//go:build linux

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1

	connectionBuffer = 1 << 20 // bytes in each direction
)

// openStack makes a TCP/IP stack on the link that takes every address for its
// own and hands what the sandbox sends to the relays.
func (n *Network) openStack() error {
	n.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			// TunnelIP is one of loopback's; of the others the policy refuses all.
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}), arp.NewProtocol,
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := setOptions(n.stack); err != nil {
		return err
	}
	// More than ever run: the stack ignores what goes beyond, and ignored is
	// not refused.
	connections := tcp.NewForwarder(n.stack, connectionBuffer, 2*maxConnections, n.acceptTCP)
	flows := udp.NewForwarder(n.stack, n.acceptUDP)
	n.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, connections.HandlePacket)
	n.stack.SetTransportProtocolHandler(udp.ProtocolNumber, flows.HandlePacket)
	n.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, swallowEcho)
	// Packets come from here on.
	if err := addInterface(n.stack, ethernet.New(n.link)); err != nil {
		return err
	}
	if n.policy.Resolves() {
		return n.serveDNS()
	}
	return nil
}

func setOptions(s *stack.Stack) error {
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: connectionBuffer, Max: connectionBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: connectionBuffer, Max: connectionBuffer}
	sack := tcpip.TCPSACKEnabled(true)
	// Nothing strays for a minute on a link inside one machine.
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	for _, option := range []tcpip.SettableTransportProtocolOption{&receive, &send, &sack, &wait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return stackError("set TCP option", err)
		}
	}
	return nil
}

func addInterface(s *stack.Stack, l stack.LinkEndpoint) error {
	if err := s.CreateNIC(nic, l); err != nil {
		return stackError("create interface", err)
	}
	for _, ip := range []string{GatewayIP, HostIP} {
		addr := tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: toTCPIP(netip.MustParseAddr(ip)).WithPrefix(),
		}
		if err := s.AddProtocolAddress(nic, addr, stack.AddressProperties{}); err != nil {
			return stackError("add address "+ip, err)
		}
	}
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return stackError("accept every address", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return stackError("answer for every address", err)
	}
	sandbox := netip.MustParsePrefix(subnet)
	destination := tcpip.AddressWithPrefix{Address: toTCPIP(sandbox.Addr()), PrefixLen: sandbox.Bits()}
	s.SetRouteTable([]tcpip.Route{{Destination: destination.Subnet(), NIC: nic}})
	return nil
}

// swallowEcho takes echo requests to the world out of the stack's hands, which
// would answer in the name of every address.
func swallowEcho(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	message := header.ICMPv4(pkt.TransportHeader().Slice())
	if len(message) < header.ICMPv4MinimumSize || message.Type() != header.ICMPv4Echo {
		return false
	}
	to := toNetip(id.LocalAddress).String()
	return to != GatewayIP && to != HostIP
}

func stackError(what string, err tcpip.Error) error {
	return fmt.Errorf("%s: %w", what, errors.New(err.String()))
}
