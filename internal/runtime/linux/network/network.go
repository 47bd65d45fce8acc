//go:build linux

package network

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	maxConnections = 1024
	minConnections = 16
	maxDatagrams   = 512 // UDP flows and DNS queries together
	maxNeighbours  = 256 // connections to TunnelIP

	dialTimeout = 30 * time.Second
)

// Options are the optional parts of Serve.
type Options struct {
	// Logger takes a debug record for each refused connection. Nil discards them.
	Logger *slog.Logger
	// Resolver is the host:port of the DNS server. Empty is the first name
	// server of /etc/resolv.conf, as the file is at the time of each query.
	Resolver string
	// MTU in bytes; 0 = 65520. It is that of GuestConfig.
	MTU int
	// Budget bounds the connections of all networks that share it. Nil = no
	// bound but each network's own.
	Budget *Budget
}

// Budget is how many connections several networks may have outside at once.
type Budget struct {
	all  slots
	each int
}

// NewBudget makes a budget for a process that may open so many descriptors. Of
// a quarter of them one network takes at most a quarter.
func NewBudget(descriptors uint64) *Budget {
	all := int(min(max(descriptors/4, 4*minConnections), 32*maxConnections))
	return &Budget{all: make(slots, all), each: min(all/4, maxConnections)}
}

// Network is the host's end of one sandbox's network.
type Network struct {
	policy   Policy
	resolver string
	log      *slog.Logger
	own      ownAddresses
	dialer   net.Dialer

	link  *link
	stack *stack.Stack

	connections, datagrams slots
	neighbours             slots // connections to TunnelIP
	budget                 slots // connections and datagrams of all networks; nil = no bound

	alive  context.Context // until Close
	cancel context.CancelFunc

	mu      sync.Mutex // guards closed, and Add of running against Wait
	closed  bool
	running sync.WaitGroup

	close func()
}

// Serve runs the network of the sandbox whose SetupGuest returned fd, until
// Close. It owns fd from the call on, also when it returns an error.
func Serve(fd int, policy Policy, opts Options) (*Network, error) {
	n := &Network{
		policy:      policy,
		resolver:    opts.Resolver,
		log:         opts.Logger,
		dialer:      net.Dialer{Timeout: dialTimeout},
		connections: make(slots, maxConnections),
		datagrams:   make(slots, maxDatagrams),
		neighbours:  make(slots, maxNeighbours),
	}
	if opts.Budget != nil {
		n.budget = opts.Budget.all
		n.connections = make(slots, opts.Budget.each)
		n.datagrams = make(slots, min(opts.Budget.each, maxDatagrams))
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if opts.MTU == 0 {
		opts.MTU = defaultMTU
	}
	var err error
	if n.link, err = newLink(fd, opts.MTU); err != nil {
		return nil, fmt.Errorf("serve network: %w", err)
	}
	n.alive, n.cancel = context.WithCancel(context.Background())
	n.close = sync.OnceFunc(n.shutdown)
	if err := n.openStack(); err != nil {
		n.close()
		return nil, fmt.Errorf("serve network: %w", err)
	}
	return n, nil
}

// Close resets every connection, waits until nothing of the network runs and
// closes the descriptor. It may be called more than once, and returns nil.
func (n *Network) Close() error {
	n.close()
	return nil
}

func (n *Network) shutdown() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.link.expire()

	idle := make(chan struct{})
	go func() {
		n.running.Wait()
		close(idle)
	}()
	n.stack.Close()
	for waiting := true; waiting; {
		select {
		case <-idle:
			waiting = false
		case <-time.After(10 * time.Millisecond):
			// A handshake that began while the stack closed waits for an
			// answer that nobody sends.
			for _, e := range n.stack.RegisteredEndpoints() {
				e.Abort()
			}
		}
	}
	n.link.Close()
	n.link.Wait()
	n.stack.Wait()
}

// enter counts a goroutine that Close waits for and that ends with
// running.Done. It reports false once Close has begun.
func (n *Network) enter() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.running.Add(1)
	return true
}

// destination returns the address to dial for what the sandbox asked for.
func (n *Network) destination(id stack.TransportEndpointID, policy Policy) (string, error) {
	dst := netip.AddrPortFrom(toNetip(id.LocalAddress), id.LocalPort)
	if dst == dnsAddr() && n.policy.Resolves() {
		return n.hostResolver()
	}
	dst, err := policy.Destination(dst, n.own.contain)
	if err != nil {
		return "", err
	}
	return dst.String(), nil
}

// dnsAddr is where the sandbox finds its resolver.
func dnsAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(GatewayIP), dnsPort)
}

func toNetip(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}

func toTCPIP(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// slots bounds how many things exist at once; nil bounds nothing.
type slots chan struct{}

func (s slots) take() bool {
	if s == nil {
		return true
	}
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() {
	if s != nil {
		<-s
	}
}

// take counts something in a bound of this network's and in that of all.
func (n *Network) take(own slots) bool {
	if !own.take() {
		return false
	}
	if !n.budget.take() {
		own.free()
		return false
	}
	return true
}

func (n *Network) free(own slots) {
	n.budget.free()
	own.free()
}
