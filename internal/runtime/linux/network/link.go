//go:build linux

package network

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	gatewayMAC = "\x02seer\x01" // locally administered

	// maxFrame is more than an MTU: the sandbox's kernel leaves the cutting of
	// a large write to a device that does not exist.
	maxFrame = 1<<16 + header.EthernetMinimumSize // bytes

	lastWrites = time.Second // for the resets that end the connections
)

// link moves Ethernet frames between a packet socket and a stack. (The
// stack's own endpoint for descriptors leaves an eventfd behind, which child
// processes inherit.)
type link struct {
	file    *os.File
	conn    syscall.RawConn
	mtu     int
	reading sync.WaitGroup

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

var _ stack.LinkEndpoint = (*link)(nil)

// newLink takes over fd, also when it fails.
func newLink(fd, mtu int) (*link, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("open link: %w", err), unix.Close(fd))
	}
	l := &link{file: os.NewFile(uintptr(fd), "packets"), mtu: mtu}
	var err error
	if l.conn, err = l.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("open link: %w", err), l.file.Close())
	}
	return l, nil
}

// Attach starts the delivery of frames. With nil it stops.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	l.dispatcher = d
	l.mu.Unlock()
	if d != nil {
		l.reading.Go(l.read)
	}
}

func (l *link) read() {
	frame := make([]byte, maxFrame)
	for {
		size, err := l.file.Read(frame)
		if errors.Is(err, unix.ENETDOWN) {
			continue // told once; the sandbox may set its link up again
		}
		if err != nil {
			return
		}
		l.mu.RLock()
		d := l.dispatcher
		l.mu.RUnlock()
		if d == nil {
			return
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame[:size])})
		d.DeliverNetworkPacket(0, pkt) // the Ethernet header knows the protocol
		pkt.DecRef()
	}
}

// WritePackets sends frames. One that cannot be sent is lost, like on any wire.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		frame := pkt.AsSlices()
		err := l.conn.Write(func(fd uintptr) (done bool) {
			_, err := unix.Writev(int(fd), frame)
			return !errors.Is(err, unix.EAGAIN)
		})
		if err != nil {
			return 0, &tcpip.ErrClosedForSend{}
		}
	}
	return pkts.Len(), nil
}

// expire ends writing soon. A sandbox may let its link take no frames.
func (l *link) expire() { _ = l.file.SetWriteDeadline(time.Now().Add(lastWrites)) }

// Close ends reading and writing. Wait waits for the former.
func (l *link) Close() { _ = l.file.Close() }

// Wait waits until no frame is being delivered any more.
func (l *link) Wait() { l.reading.Wait() }

// IsAttached reports whether frames are delivered.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// MTU is in bytes, with the Ethernet header.
func (l *link) MTU() uint32 { return uint32(l.mtu + header.EthernetMinimumSize) }

// Capabilities says that checksums need no check: frames of a veth never left
// the machine, and the kernel does not fill them in.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// LinkAddress is the gateway's hardware address.
func (l *link) LinkAddress() tcpip.LinkAddress { return gatewayMAC }

// What follows is the Ethernet wrapper's part, or never changes.

func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) SetMTU(uint32)                           {}
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) SetOnCloseAction(func())                 {}
