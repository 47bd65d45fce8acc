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
	"net/url"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
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
	shutdownBudget = 2 * time.Second
	maxClients     = 512 // connections that have shown the token
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
	clients := crowd.New(crowd.Fitting(maxClients, 8), crowd.Fitting(crowd.MaxStrangers, 16), nil)
	l.http = crowd.HTTPServer(requireToken(l.Token, clients, mux))
	l.http.ErrorLog = slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug)
	listener = crowd.Listen(context.WithoutCancel(ctx), listener, clients)
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

// requireToken answers 401 to whoever does not send the bearer token, and 403
// to what a page of another origin makes a browser send.
func requireToken(token string, clients *crowd.Crowd, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		switch {
		case !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			crowd.Refuse(w, "token missing or wrong", http.StatusUnauthorized)
		case foreignOrigin(r):
			crowd.Refuse(w, "origin not allowed", http.StatusForbidden)
		default:
			clients.Know(r.RemoteAddr)
			next.ServeHTTP(w, r)
		}
	})
}

// foreignOrigin tells whether a request comes from a page that this port has
// not served. Programs that are no browsers name no origin.
func foreignOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		if page, err := url.Parse(origin); err != nil || page.Host != r.Host {
			return true
		}
	}
	return false
}
