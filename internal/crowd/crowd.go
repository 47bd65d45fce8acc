// Package crowd bounds the connections that a listener holds at once, before
// anybody has shown a token, too: whoever can reach a port could otherwise use up
// the descriptors and the memory of the program behind it.
package crowd

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// StrangerTime is how long a connection may stay that has not shown a token.
	StrangerTime = 10 * time.Second

	// MaxStrangers is how many connections without a token a port holds.
	MaxStrangers = 128
	// MaxHeader is how many bytes the headers of a call or a request may have.
	MaxHeader = 64 << 10

	idleTime = 2 * time.Minute // longer than callers keep a connection in reserve

	firstPause = 5 * time.Millisecond // before a failed accept is repeated
	lastPause  = time.Second
)

// Fitting is a number of things that take a descriptor each, less where this
// process may have few.
func Fitting(most, share int) int { return max(8, min(most, descriptorLimit()/share)) }

// Accept accepts a connection. Whatever goes wrong but the listener's end,
// such as a lack of descriptors, passes: it tries again.
func Accept(l net.Listener, closed <-chan struct{}) (net.Conn, error) {
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

// HTTPServer is a server that bounds what it hears before it knows from whom.
func HTTPServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: StrangerTime, IdleTimeout: idleTime, MaxHeaderBytes: MaxHeader}
}

// Refuse answers a request that showed no right to one, and ends its connection.
func Refuse(w http.ResponseWriter, message string, status int) {
	w.Header().Set("Connection", "close")
	http.Error(w, message, status)
}

// Crowd bounds the connections that exist at once. Those that have shown no
// token are strangers: they have little time, and of too many the one that
// came first goes.
type Crowd struct {
	most, strangers int
	within          *Crowd // counts them too; nil = none

	mu      sync.Mutex
	all     map[*visitor]struct{}
	unknown []*visitor // the strangers, in the order of their coming
}

// New makes a crowd of at most so many connections, and of strangers at most so
// many. With 0 strangers nobody is one: no token is asked for. What it counts
// counts within another crowd, too, unless that is nil.
func New(most, strangers int, within *Crowd) *Crowd {
	return &Crowd{most: most, strangers: strangers, within: within, all: map[*visitor]struct{}{}}
}

// visitor is a connection of a crowd.
type visitor struct {
	net.Conn
	crowd   *Crowd
	counted *visitor // in the crowd around this one; nil = none
	expire  *time.Timer
	gone    sync.Once
	err     error
}

// Strangers is how many connections have shown no token, and how many may be.
func (c *Crowd) Strangers() (now, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unknown), c.strangers
}

// Admit counts a connection, which leaves when it is closed. One too many is
// closed at once.
func (c *Crowd) Admit(conn net.Conn) (net.Conn, bool) {
	v := &visitor{Conn: conn, crowd: c}
	if !c.enter(v) {
		_ = conn.Close()
		return nil, false
	}
	return v, true
}

func (c *Crowd) enter(v *visitor) bool {
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
			v.expire = time.AfterFunc(StrangerTime, func() { _ = v.Close() })
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

func (c *Crowd) leave(v *visitor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, v)
	c.knowLocked(v)
}

// Know says that the connection from an address has shown a token.
func (c *Crowd) Know(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.unknown {
		if v.RemoteAddr().String() == address {
			c.knowLocked(v)
			return
		}
	}
}

func (c *Crowd) knowLocked(v *visitor) {
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
func (v *visitor) CloseWrite() error { return CloseWrite(v.Conn) }

// Listener accepts the connections of a crowd.
type Listener struct {
	net.Listener
	crowd   *Crowd
	ctx     context.Context // ends with the listener
	closing context.CancelFunc
}

// Listen makes a listener, until it is closed or ctx ends, admit to a crowd.
func Listen(ctx context.Context, l net.Listener, c *Crowd) *Listener {
	ctx, cancel := context.WithCancel(ctx)
	return &Listener{Listener: l, crowd: c, ctx: ctx, closing: cancel}
}

// Accept returns the next connection; its only error is the listener's end.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := Accept(l.Listener, l.ctx.Done())
		if err != nil {
			return nil, err
		}
		if visitor, ok := l.crowd.Admit(conn); ok {
			return visitor, nil
		}
	}
}

// Close stops accepting. What has been accepted stays.
func (l *Listener) Close() error {
	l.closing()
	return l.Listener.Close()
}

// CloseWrite ends the sending half of a connection, or all of one without halves.
func CloseWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}
