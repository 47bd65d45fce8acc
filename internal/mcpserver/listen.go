package mcpserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Listener is a server on a loopback port that asks for a token.
type Listener struct {
	URL   string // of the MCP endpoint
	Token string // bearer token of this listener alone

	http   *http.Server
	served chan struct{}
}

const (
	endpoint       = "/mcp"
	headerTimeout  = 10 * time.Second
	shutdownBudget = 2 * time.Second
)

// Listen opens a free loopback port.
func (s *Server) Listen(ctx context.Context) (*Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve MCP: %w", err)
	}
	l := &Listener{URL: "http://" + listener.Addr().String() + endpoint, Token: rand.Text() + rand.Text(), served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle(endpoint, s.Handler())
	l.http = &http.Server{
		Handler:           requireToken(l.Token, mux),
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(l.served)
		if err := l.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("serve MCP", "error", err)
		}
	}()
	return l, nil
}

// Close closes the port. Requests that the server's Close has not ended get
// two seconds to finish.
func (l *Listener) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownBudget)
	defer cancel()
	err := l.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = l.http.Close()
	}
	<-l.served
	return err
}

// requireToken answers 401 to whoever does not send the bearer token.
func requireToken(token string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "token missing or wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
