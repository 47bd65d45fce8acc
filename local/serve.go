package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"sync"
)

// ServeOptions adjust [Serve]. The zero value is a server on a free port with
// a token of its own.
type ServeOptions struct {
	// Listen is the loopback address to serve on, as IP:PORT. "" = 127.0.0.1
	// and a free port.
	Listen string
	// Dir keeps state, as [Dir] does. "" = [StateDir].
	Dir string
	// TokenID and TokenSecret are what programs must present. "" = made up.
	TokenID, TokenSecret string
	// AllowHosts are open to sandboxes, as [AllowHost] has it.
	AllowHosts []string
	// Advertise is the HOST or HOST:PORT that clients are told for tunnels,
	// for what forwards to them. "" = where each one listens.
	Advertise string
	// RegistryMirror is the registry, as HOST or HOST:PORT, of images that
	// name none. It is never shown credentials. "" = Docker Hub.
	RegistryMirror string
	// Secrets are the values of named secrets that exist from the start. They
	// stay in memory.
	Secrets map[string]map[string]string
	// Proxies are the names of proxies that exist. They change no traffic.
	Proxies []string
	// Logger takes the server's log lines. nil = [slog.Default].
	Logger *slog.Logger
}

// Server is a local backend that several programs share. They reach it as they
// would Modal, with the three variables of [Server.Environ].
type Server struct {
	running *running
	closing sync.Once
	err     error
}

// Serve starts a server for the programs of this machine; ctx bounds the start.
// It serves until Close, which the caller owes it; `seer local serve` does nothing else.
func Serve(ctx context.Context, options ServeOptions) (*Server, error) {
	s := settings{
		listen:      options.Listen,
		tokenID:     options.TokenID,
		tokenSecret: options.TokenSecret,
		allow:       options.AllowHosts,
		advertise:   options.Advertise,
		mirror:      options.RegistryMirror,
		secrets:     options.Secrets,
		proxies:     options.Proxies,
		logger:      options.Logger,
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("serve local backend: %w", err)
	}
	var err error
	if s.dir, err = stateDir(options.Dir); err != nil {
		return nil, err
	}
	started, err := start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("serve local backend: %w", err)
	}
	return &Server{running: started}, nil
}

// plainToken is what a shell, a TOML file and an HTTP header take unquoted.
var plainToken = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)

// check refuses what would open this machine to others.
func (s settings) check() error {
	if s.listen != "" {
		address, err := netip.ParseAddrPort(s.listen)
		if err != nil {
			return fmt.Errorf("listen on %q: write an IP address and a port, such as 127.0.0.1:8900", s.listen)
		}
		if !address.Addr().IsLoopback() {
			return fmt.Errorf("listen on %q: only loopback addresses, such as 127.0.0.1:%d; whoever reaches the server runs programs on this machine", s.listen, address.Port())
		}
	}
	if (s.tokenID == "") != (s.tokenSecret == "") {
		return errors.New("token ID and token secret go together: give both or neither")
	}
	if !plainToken.MatchString(s.tokenID) || !plainToken.MatchString(s.tokenSecret) {
		return errors.New("a token is made of letters, digits, '.', '_' and '-'")
	}
	return nil
}

// URL is where the server listens, as http://IP:PORT.
func (s *Server) URL() string { return s.running.endpoint.ServerURL }

// Certificate is what tunnels identify themselves with over https, as PEM. It
// signs itself and is new with every server: a client that checks certificates,
// as those of Python do, needs it in the file that REQUESTS_CA_BUNDLE names.
func (s *Server) Certificate() []byte { return s.running.certificate }

// Environ is what a program needs in its environment to use the server, as
// "NAME=value". It holds the token's secret.
func (s *Server) Environ() []string {
	endpoint := s.running.endpoint
	return []string{
		"MODAL_SERVER_URL=" + endpoint.ServerURL,
		"MODAL_TOKEN_ID=" + endpoint.TokenID,
		"MODAL_TOKEN_SECRET=" + endpoint.TokenSecret,
	}
}

// Close ends every sandbox and waits until they are gone. Images, volumes and
// snapshots stay. Later calls return what the first one did.
func (s *Server) Close() error {
	s.closing.Do(func() { s.err = s.running.close() })
	return s.err
}
