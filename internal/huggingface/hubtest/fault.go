package hubtest

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Fault is something that goes wrong. The zero value of each field leaves that
// part alone.
type Fault struct {
	Method string      // requests it strikes; "" = all
	Path   string      // part of the path of the requests it strikes; "" = all
	Times  int         // how often; 0 = always
	Status int         // answer with this instead
	Header http.Header // beside Status, "Retry-After" for instance

	CutAfter   int64 // close the connection after so many bytes of the body
	StallAfter int64 // send nothing more, but hold the connection, after so many bytes of the body
}

// Fail adds a fault. Of several that fit a request the oldest strikes.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that strikes a request, or a harmless one. The
// lock is held.
func (s *Server) takeFault(r *http.Request) Fault {
	for i, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.EscapedPath(), f.Path) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
		}
		return *f
	}
	return Fault{}
}

// writer counts what is sent, and cuts or stalls a body.
type writer struct {
	http.ResponseWriter
	server         *Server
	request        *http.Request
	entry          *Request
	fault          Fault
	content        bool      // the body is a file's content
	begun          time.Time // of a paced body
	bytesPerSecond int       // 0 = as fast as it goes
}

func (w *writer) WriteHeader(status int) {
	w.server.mu.Lock()
	w.entry.Status = status
	w.server.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

// pieceSize is how much is sent at once, so that faults and OnServe strike in
// the middle of small files too.
const pieceSize = 16 << 10

func (w *writer) Write(data []byte) (int, error) {
	sent := 0
	for len(data) > 0 {
		n := min(len(data), pieceSize)
		if limit := max(w.fault.CutAfter, w.fault.StallAfter); limit > 0 {
			n = min(n, int(limit-w.entry.Bytes))
		}
		if n <= 0 {
			return sent, w.strike()
		}
		w.announce()
		n, err := w.ResponseWriter.Write(data[:n])
		w.count(n)
		sent += n
		w.pace()
		if err != nil {
			return sent, err
		}
		if w.content {
			_ = http.NewResponseController(w.ResponseWriter).Flush()
		}
		data = data[n:]
	}
	return sent, nil
}

// strike ends the answer as the fault wants it, with the connection.
func (w *writer) strike() error {
	if w.fault.StallAfter > 0 {
		select {
		case <-w.request.Context().Done():
		case <-w.server.closing:
		}
	}
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return err
	}
	_ = conn.Close()
	return errStruck
}

var errStruck = errors.New("connection ended by a fault")

// pace waits until a connection of the given speed has sent what was sent.
func (w *writer) pace() {
	if w.bytesPerSecond == 0 {
		return
	}
	if w.begun.IsZero() {
		w.begun = time.Now()
	}
	due := w.begun.Add(time.Duration(float64(w.entry.Bytes) / float64(w.bytesPerSecond) * float64(time.Second)))
	select {
	case <-time.After(time.Until(due)):
	case <-w.server.closing:
	}
}

func (w *writer) announce() {
	w.server.mu.Lock()
	f, total := w.server.onServe, w.server.served
	w.server.mu.Unlock()
	if f != nil && w.content {
		f(total)
	}
}

func (w *writer) count(n int) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.entry.Bytes += int64(n)
	if w.content {
		w.server.served += int64(n)
	}
}
