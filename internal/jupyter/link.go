package jupyter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	pingInterval = 20 * time.Second
	writeTimeout = 30 * time.Second
)

// link is one websocket to a kernel. Its reader hands every message to
// dispatch, in order, until the connection ends.
type link struct {
	conn     *websocket.Conn
	frame    bytes.Buffer // of the message that is read
	session  string       // identity of this client; the server buffers under it
	binary   bool
	limit    *atomic.Int64 // bytes of a message; of a longer one the middle is left out
	received atomic.Int64  // bytes, to tell a slow connection from a dead one
	heard    atomic.Int64  // when the last of them came, in Unix nanoseconds
	silent   atomic.Bool   // given up, because nothing came
	done     chan struct{} // closed when the reader has ended
	err      error         // why; set before done is closed
}

// dialLink opens a websocket and starts its goroutines, which end when the
// connection does.
func dialLink(ctx context.Context, s *Server, kernelID, session string, limit *atomic.Int64, dispatch func(*link, *message)) (*link, error) {
	path := kernelPath(kernelID) + "/channels"
	head := http.Header{}
	authorize(head, s.config.Token)
	conn, resp, err := websocket.Dial(ctx, s.base.String()+path+"?session_id="+url.QueryEscape(session), &websocket.DialOptions{ //nolint:bodyclose // the websocket owns it
		HTTPClient:   s.client,
		HTTPHeader:   head,
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(resp, "websocket", path)
		}
		return nil, fmt.Errorf("websocket %s: %w", path, err)
	}
	conn.SetReadLimit(-1) // next has its own
	l := &link{
		conn:    conn,
		session: session,
		binary:  conn.Subprotocol() == subprotocol,
		limit:   limit,
		done:    make(chan struct{}),
	}
	l.heard.Store(time.Now().UnixNano())
	go l.read(dispatch)
	go l.keepAlive()
	return l, nil
}

// close ends the connection and waits for the reader.
func (l *link) close() {
	l.conn.CloseNow() //nolint:errcheck // there is nothing to do about it
	<-l.done
}

func (l *link) read(dispatch func(*link, *message)) {
	defer close(l.done)
	defer l.conn.CloseNow() //nolint:errcheck // it only says that it was closed already
	for {
		m, err := l.next()
		if err != nil {
			if l.silent.Load() {
				err = fmt.Errorf("nothing came for %v, not even the answer to a ping: %w", pingInterval, err)
			}
			l.err = err
			return
		}
		if m != nil {
			dispatch(l, m)
		}
	}
}

// next reads a message. There is no deadline: a cell may be silent for hours,
// and keepAlive finds out when the other side has gone.
func (l *link) next() (*message, error) {
	kind, r, err := l.conn.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	frame, end, size, err := readFrame(&countingReader{r, l}, &l.frame, l.limit.Load())
	if err != nil {
		return nil, err
	}
	if l.frame.Cap() > 4<<20 {
		l.frame = bytes.Buffer{} // it would stay with the connection
	}
	switch {
	case l.binary && kind == websocket.MessageBinary:
		m, err := decodeBinary(frame, uint64(size))
		if err == nil && m.cut > 0 {
			m.end = end
		}
		return m, err
	case size > int64(len(frame)):
		return nil, nil // a server without the subprotocol has no headers apart
	case kind == websocket.MessageText:
		return decodeText(frame)
	}
	return decodeLegacyBinary(frame)
}

type countingReader struct {
	io.Reader
	*link
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.received.Add(int64(n))
	r.heard.Store(time.Now().UnixNano())
	return n, err
}

// keepAlive keeps idle connections open in proxies and finds dead ones.
func (l *link) keepAlive() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-ticker.C:
		}
		l.check()
	}
}

// check pings the server and closes the connection when neither a pong nor
// anything else comes back. It reports whether a pong came.
func (l *link) check() bool {
	before := l.received.Load()
	ctx, cancel := context.WithTimeout(context.Background(), pingInterval)
	defer cancel()
	err := l.conn.Ping(ctx)
	switch {
	case err == nil:
		l.heard.Store(time.Now().UnixNano())
	case l.received.Load() == before:
		l.silent.Store(true)
		l.conn.CloseNow() //nolint:errcheck // the reader reports it
	}
	return err == nil
}

// quiet reports whether nothing has come for so long that the connection may
// be dead without our knowing.
func (l *link) quiet() bool {
	const suspicious = 5 * time.Second
	return time.Since(time.Unix(0, l.heard.Load())) > suspicious
}

// write sends a message. It does not take the caller's context, because a
// write that is given up half-way costs the connection.
func (l *link) write(m *message) error {
	m.header.Session = l.session
	encode, kind := encodeText, websocket.MessageText
	if l.binary {
		encode, kind = encodeBinary, websocket.MessageBinary
	}
	frame, err := encode(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return l.conn.Write(ctx, kind, frame)
}
