//go:build linux

package network

import (
	"context"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	flowTimeout = time.Minute
	maxDatagram = 1<<16 - 1 // bytes
)

// acceptUDP answers the first datagram of a flow. It must not block: the
// stack's packets wait for it. After false the stack sends port unreachable.
func (n *Network) acceptUDP(r *udp.ForwarderRequest) bool {
	streamsOnly := n.policy
	streamsOnly.Open = nil
	address, err := n.destination(r.ID(), streamsOnly)
	if err == nil && !n.take(n.datagrams) {
		err = errTooMany
	}
	if err != nil {
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, err)
		return false
	}
	var queue waiter.Queue
	if !n.enter() {
		n.free(n.datagrams)
		return false
	}
	endpoint, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		n.free(n.datagrams)
		n.running.Done()
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, stackError("accept flow", terr))
		return false
	}
	inside := gonet.NewUDPConn(&queue, endpoint)
	go func() {
		defer n.running.Done()
		defer n.free(n.datagrams)
		n.openFlow(inside, address)
	}()
	return true
}

// openFlow continues a flow outside until it ends.
func (n *Network) openFlow(inside net.Conn, address string) {
	outside, err := n.dialer.DialContext(n.alive, "udp", address)
	if err != nil {
		_ = inside.Close()
		return
	}
	relayDatagrams(n.alive, inside, outside, flowTimeout)
}

// relayDatagrams copies datagrams both ways until none has come for the idle
// time, or ctx ends. It closes both connections.
func relayDatagrams(ctx context.Context, inside, outside net.Conn, idle time.Duration) {
	end := func() {
		_ = inside.Close()
		_ = outside.Close()
	}
	defer end()
	defer context.AfterFunc(ctx, end)()

	postpone := func() bool {
		deadline := time.Now().Add(idle)
		return inside.SetReadDeadline(deadline) == nil && outside.SetReadDeadline(deadline) == nil
	}
	relay := func(to, from net.Conn) {
		defer end()
		buf := make([]byte, maxDatagram)
		for postpone() {
			size, err := from.Read(buf)
			if err != nil {
				return
			}
			if _, err := to.Write(buf[:size]); err != nil {
				return
			}
		}
	}
	var back sync.WaitGroup
	back.Go(func() { relay(inside, outside) })
	relay(outside, inside)
	back.Wait()
}
