package jupyter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where a server is and how to reach it.
type Config struct {
	// BaseURL is the server's address, such as "http://127.0.0.1:8888". A
	// path prefix may follow.
	BaseURL string
	// Token is the server's secret. Empty is an error.
	Token string
	// Dial opens the connections to the server, for servers that are reached
	// through something else than the network. Nil means TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger receives reconnects and oddities. Nil means silence.
	Logger *slog.Logger
	// ReconnectTimeout bounds how long a cut connection is dialled again
	// before the kernel counts as lost. Zero means two minutes.
	ReconnectTimeout time.Duration
	// InterruptGrace bounds how long a cell whose context has ended may take
	// to stop. Zero means ten seconds.
	InterruptGrace time.Duration
	// MaxMessageBytes bounds one message of a kernel, such as one output of a
	// cell: of a larger one, only the ends of a text are shown. Zero means
	// 40 MiB. It grows with [ExecuteOptions.OutputLimit].
	MaxMessageBytes int64
}

// Server is a Jupyter server that has proved to be ours.
type Server struct {
	config Config
	base   *url.URL
	client *http.Client
	log    *slog.Logger
}

// Connect asks the server who it is, once. It returns [ErrUnauthorized] if the
// server refuses the token, [ErrUnprotected] if it also answers without one,
// [ErrNotJupyter] if something else answers, or the error of the connection.
func Connect(ctx context.Context, config Config) (*Server, error) {
	s, err := newServer(config)
	if err != nil {
		return nil, fmt.Errorf("connect to jupyter server: %w", err)
	}
	if err := s.identify(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect to jupyter server %s: %w", s.base.Redacted(), err)
	}
	return s, nil
}

// Await is [Connect] for a server that is still starting: it tries again, a
// few milliseconds later at first, while nothing listens there or a proxy
// before it says so, until ctx ends.
func Await(ctx context.Context, config Config) (*Server, error) {
	wait := backoff{next: 5 * time.Millisecond, limit: 250 * time.Millisecond}
	for {
		s, err := Connect(ctx, config)
		if err == nil || !starting(err) {
			return s, err
		}
		if wait.sleep(ctx) != nil {
			return nil, fmt.Errorf("%w: last attempt: %w", ended(ctx), err)
		}
	}
}

// starting tells a server that is not there yet from one that is wrong.
func starting(err error) bool {
	var api *APIError
	if errors.As(err, &api) {
		return api.Status >= http.StatusInternalServerError
	}
	var network *url.Error
	return errors.As(err, &network)
}

func newServer(config Config) (*Server, error) {
	base, err := url.Parse(config.BaseURL)
	if err != nil {
		return nil, errors.New("base URL cannot be parsed")
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("base URL %q: want http or https and a host", base.Redacted())
	}
	if config.Token == "" {
		return nil, errors.New("token is empty")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.ReconnectTimeout == 0 {
		config.ReconnectTimeout = 2 * time.Minute
	}
	if config.InterruptGrace == 0 {
		config.InterruptGrace = 10 * time.Second
	}
	if config.MaxMessageBytes == 0 {
		config.MaxMessageBytes = 40 << 20
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	base.RawQuery, base.Fragment = "", ""

	// Setting DialContext keeps HTTP/2 off, over which the websocket
	// handshake cannot be made.
	transport := &http.Transport{
		DialContext:         config.Dial,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     time.Minute,
		MaxIdleConnsPerHost: 4,
	}
	if config.Dial == nil {
		transport.Proxy = http.ProxyFromEnvironment
		transport.DialContext = dialQuickAck
	}
	return &Server{
		config: config,
		base:   base,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log: config.Logger,
	}, nil
}

// identify asks the status with the token and without it.
func (s *Server) identify(ctx context.Context) error {
	stranger := make(chan error, 1)
	go func() { stranger <- s.request(ctx, "", http.MethodGet, "/api/status", nil, nil) }()

	var status struct {
		Started *string `json:"started"`
		Kernels *int    `json:"kernels"`
	}
	err := s.ask(ctx, "/api/status", &status)
	open := <-stranger
	switch {
	case err != nil:
		return err
	case status.Started == nil || status.Kernels == nil:
		return ErrNotJupyter
	case open == nil:
		return ErrUnprotected
	case errors.Is(open, ErrUnauthorized):
		return nil
	}
	return open
}

// Check asks the server again who it is, with the errors of [Connect].
func (s *Server) Check(ctx context.Context) error {
	if err := s.identify(ctx); err != nil {
		return fmt.Errorf("ask jupyter server %s: %w", s.base.Redacted(), err)
	}
	return nil
}

// Close drops the idle connections. Kernels stay usable.
func (s *Server) Close() { s.client.CloseIdleConnections() }

// ended is the error of a context that has ended, with its cause if that says
// more.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// backoff is a delay that doubles up to a limit.
type backoff struct{ next, limit time.Duration }

// sleep waits for the current delay or the end of ctx.
func (b *backoff) sleep(ctx context.Context) error {
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	b.next = min(2*b.next, b.limit)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
