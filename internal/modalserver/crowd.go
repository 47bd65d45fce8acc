package modalserver

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// strangerTime is how long a connection may stay that has not shown a token.
	strangerTime = 10 * time.Second

	maxStrangers     = 128      // connections without a token
	maxClients       = 4096     // and with one
	maxTunnelled     = 16384    // through the tunnels of all sandboxes
	maxTunnelledEach = 512      // through those of one
	maxHeader        = 64 << 10 // bytes of the headers of a call or a request

	firstPause = 5 * time.Millisecond // before a failed accept is repeated
	lastPause  = time.Second
)

// fitting is a number of things that take a descriptor each, less where this
// process may have few.
func fitting(most, share int) int { return max(8, min(most, descriptorLimit()/share)) }

// acceptNext accepts a connection. Whatever goes wrong but the listener's end,
// such as a lack of descriptors, passes: it tries again.
func acceptNext(l net.Listener, closed <-chan struct{}) (net.Conn, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		conn, err := l.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		select {
		case <-closed:
			return nil, net.ErrClosed
		case <-time.After(pause):
		}
	}
}

// crowd bounds the connections that exist at once. Those that have shown no
// token are strangers: they have little time, and of too many the one that
// came first goes.
type crowd struct {
	most, strangers int
	within          *crowd // counts them too; nil = none

	mu      sync.Mutex
	all     map[*visitor]struct{}
	unknown []*visitor // the strangers, in the order of their coming
}

func newCrowd(most, strangers int, within *crowd) *crowd {
	return &crowd{most: most, strangers: strangers, within: within, all: map[*visitor]struct{}{}}
}

// visitor is a connection of a crowd.
type visitor struct {
	net.Conn
	crowd   *crowd
	counted *visitor // in the crowd around this one; nil = none
	expire  *time.Timer
	gone    sync.Once
	err     error
}

// admit counts a connection, which leaves when it is closed. One too many is
// closed at once.
func (c *crowd) admit(conn net.Conn) (net.Conn, bool) {
	v := &visitor{Conn: conn, crowd: c}
	if !c.enter(v) {
		_ = conn.Close()
		return nil, false
	}
	return v, true
}

func (c *crowd) enter(v *visitor) bool {
	if c.within != nil {
		v.counted = &visitor{Conn: v.Conn, crowd: c.within}
		if !c.within.enter(v.counted) {
			return false
		}
	}
	c.mu.Lock()
	full := len(c.all) >= c.most
	var oldest *visitor
	if !full {
		c.all[v] = struct{}{}
		if c.strangers > 0 {
			v.expire = time.AfterFunc(strangerTime, func() { _ = v.Close() })
			c.unknown = append(c.unknown, v)
			if len(c.unknown) > c.strangers {
				oldest = c.unknown[0]
			}
		}
	}
	c.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	if full && v.counted != nil {
		c.within.leave(v.counted)
	}
	return !full
}

func (c *crowd) leave(v *visitor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, v)
	c.knowLocked(v)
}

// know says that the connection from an address has shown a token.
func (c *crowd) know(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.unknown {
		if v.RemoteAddr().String() == address {
			c.knowLocked(v)
			return
		}
	}
}

func (c *crowd) knowLocked(v *visitor) {
	if i := slices.Index(c.unknown, v); i >= 0 {
		v.expire.Stop()
		c.unknown = slices.Delete(c.unknown, i, i+1)
	}
}

// Close closes the connection; later calls return what the first one did.
func (v *visitor) Close() error {
	v.gone.Do(func() {
		v.crowd.leave(v)
		if v.counted != nil {
			v.crowd.within.leave(v.counted)
		}
		v.err = v.Conn.Close()
	})
	return v.err
}

// CloseWrite ends the sending half.
func (v *visitor) CloseWrite() error { return closeWrite(v.Conn) }

// crowdedListener accepts the connections of a crowd.
type crowdedListener struct {
	net.Listener
	crowd   *crowd
	ctx     context.Context // ends with the listener
	closing context.CancelFunc
}

func newCrowdedListener(ctx context.Context, l net.Listener, c *crowd) *crowdedListener {
	ctx, cancel := context.WithCancel(ctx)
	return &crowdedListener{Listener: l, crowd: c, ctx: ctx, closing: cancel}
}

// Accept returns the next connection; its only error is the listener's end.
func (l *crowdedListener) Accept() (net.Conn, error) {
	for {
		conn, err := acceptNext(l.Listener, l.ctx.Done())
		if err != nil {
			return nil, err
		}
		if visitor, ok := l.crowd.admit(conn); ok {
			return visitor, nil
		}
	}
}

// Close stops accepting. What has been accepted stays.
func (l *crowdedListener) Close() error {
	l.closing()
	return l.Listener.Close()
}
