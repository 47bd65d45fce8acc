// Package network gives a sandbox a network of its own that ends in this
// process: no bridge, no root, no /dev/net/tun, no change to the host.
//
// SetupGuest runs inside the sandbox's fresh network namespace. It makes a
// veth pair and returns an AF_PACKET socket on its far end. Serve, in the host
// process, runs a TCP/IP stack in user space on that socket, accepts every
// connection of the sandbox there and makes it again with a socket of the host
// once the Policy has agreed to the address. A sandbox thus speaks to the
// world only through sockets that this process opened after a check of the
// final, numeric address; what a name resolves to cannot get around it.
//
// # What passes
//
// TCP with half-close and resets, and UDP. A refused TCP connection is reset
// at once, refused UDP is answered with ICMP port unreachable. A destination
// that does not answer is reset after 30 seconds. ICMP echo is answered by
// [GatewayIP] and [HostIP] alone and ignored for every other address: ping
// tells nothing about the world. There is no IPv6 outside the sandbox's own
// loopback: connecting to an IPv6 address fails at once as unreachable.
//
// # Names
//
// The resolver at GatewayIP, port 53 over UDP and TCP, passes queries on to
// the host's resolver as long as the policy allows anything at all. The names
// asked for are not checked against the policy, so a program that means to can
// carry data out in them; only Blocked and HostsOnly prevent that. [HostName] is not
// answered there: the runtime writes it, with HostIP, to the sandbox's
// /etc/hosts.
//
// # Limits
//
// A sandbox holds at most 1024 TCP connections and 512 UDP flows and pending
// DNS queries, hence so many descriptors of the host. The next one is refused.
// The first of them buffer a megabyte in each direction, later ones less. TunnelIP
// takes at most 256, and a Budget bounds several networks. A UDP flow ends after
// a minute without a datagram, a DNS query after five seconds.
//
// The host's own addresses are read again every three seconds. A public address
// that a router translates to this host is not known as the host's own, and is
// reached like any other public address.
package network
