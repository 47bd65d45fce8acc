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
	address, err := n.destination(r.ID())
	if err == nil && !n.datagrams.take() {
		err = errTooMany
	}
	if err != nil {
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, err)
		return false
	}
	var queue waiter.Queue
	if !n.enter() {
		n.datagrams.free()
		return false
	}
	endpoint, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		n.datagrams.free()
		n.running.Done()
		n.logRefused(r.ID().LocalAddress, r.ID().LocalPort, stackError("accept flow", terr))
		return false
	}
	inside := gonet.NewUDPConn(&queue, endpoint)
	go func() {
		defer n.running.Done()
		defer n.datagrams.free()
		n.relayFlow(inside, address)
	}()
	return true
}

// relayFlow copies datagrams both ways until none has come for flowTimeout.
func (n *Network) relayFlow(inside net.Conn, address string) {
	defer func() { _ = inside.Close() }()
	outside, err := n.dialer.DialContext(n.alive, "udp", address)
	if err != nil {
		return
	}
	end := func() {
		_ = inside.Close()
		_ = outside.Close()
	}
	stop := context.AfterFunc(n.alive, end)
	defer stop()

	postpone := func() bool {
		deadline := time.Now().Add(flowTimeout)
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
