// Package modalserver serves Modal's protocol: the ModalClient and
// TaskCommandRouter services that Modal's own clients call, and the state
// behind them. What isolates and runs processes lies behind package runtime.
package modalserver

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	maxMessage   = 100 << 20 // bytes; the clients' own limit
	streamWindow = 8 << 20   // bytes in flight per stream
	maxStreams   = 4096      // calls at once on one connection

	maxClients       = 4096  // connections that have shown a token
	maxTunnelled     = 16384 // through the tunnels of all sandboxes
	maxTunnelledEach = 512   // through those of one
)

// Config says what a Server runs on.
type Config struct {
	// Runtime runs the sandboxes. It stays the caller's: Close ends the
	// sandboxes but not the runtime.
	Runtime runtime.Runtime
	// StateDir keeps what has a name (apps, images, secrets, volumes) across
	// restarts; several servers may share it. "" = in memory only.
	StateDir string
	// ImageDir keeps images apart from the rest, for servers that share them
	// and nothing else. "" = StateDir.
	ImageDir string
	// Listen is the address to serve on. "" = 127.0.0.1 and a free port.
	Listen string
	// TokenID and TokenSecret are what clients must present. "" = anything.
	TokenID, TokenSecret string
	// TunnelHost is the address that tunnels listen on: one that the sandboxes of
	// Runtime reach as this machine does, and nobody else. "" = that of Listen.
	TunnelHost string
	// AdvertisedHost is the host, or host:port, that clients are told for
	// tunnels. "" = where the tunnel really listens.
	AdvertisedHost string
	// OutputLimit is how many bytes of output are kept of a sandbox and its
	// commands, of which a quarter may wait to be read in one stream. A command
	// that is further ahead of its readers waits; of the sandbox's own output
	// the oldest is dropped. All sandboxes of a server together have eight times
	// as much. 0 = 256 MiB.
	OutputLimit int64
	// NoLeases keeps no leases of sandboxes, as Modal does not.
	NoLeases bool
	// Secrets are named secrets that exist from the start, in every environment.
	Secrets map[string]map[string]string
	// Proxies are the names of proxies that exist. They change no traffic.
	Proxies []string
	// PlayGPUs accepts requests for GPUs. It is for a Runtime that runs no
	// processes, where a GPU is as real as the rest.
	PlayGPUs bool
	// Logger takes what the server has to say. nil = nothing.
	Logger *slog.Logger
	// Hook sees every call before it runs. nil = none.
	Hook Hook
	// Full says whether sandboxes wait for a machine, as those of Modal do for a
	// GPU. nil = never.
	Full func() bool
	// Spoil may interfere with what a call answers. nil = nothing does.
	Spoil Spoil
	// Clock is what the life of tokens is measured by. nil = time.Now.
	Clock func() time.Time
}

// Server is a running server. Its methods may be called from any goroutine.
type Server struct {
	pb.UnimplementedModalClientServer
	pb.UnimplementedTaskCommandRouterServer

	runtime  runtime.Runtime
	log      *slog.Logger
	noLeases bool
	hook     Hook
	full     func() bool
	spoil    Spoil
	auth     *authority
	store    *store
	names    catalog
	images   catalog // what is known of images
	spoolDir string
	outputs  *outputBudget
	secrets  *secretBook
	proxies  map[string]string // ID by name
	builds   *buildBook
	calls    *callBook
	mounts   *mountBook
	blobs    *blobBook

	address    string
	advertised string
	tunnelHost string
	playGPUs   bool
	tls        *tls.Config
	listener   *sniffingListener
	clients    *crowd.Crowd // connections to listener
	tunnelled  *crowd.Crowd // and through all tunnels
	tunnelAt   sync.Map     // *tunnel by the address that it listens on
	grpc       *grpc.Server

	ctx      context.Context // ends when Close begins
	cancel   context.CancelFunc
	work     sync.WaitGroup // builds, creates, watchers, tunnels
	closing  sync.Once
	closeErr error

	mu           sync.Mutex
	closed       bool
	sandboxes    map[string]*sandbox // by sandbox ID
	tasks        map[string]*sandbox // by task ID
	lastCreated  time.Time
	sandboxNames map[string]*sandbox  // the last holder, by app and name
	snapshots    []builtImage         // made since the start
	ephemeral    map[string]time.Time // volumes that live as long as their heartbeat
}

// SandboxInfo describes a running sandbox.
type SandboxInfo struct {
	ID, TaskID, App, Name string
	Image                 string
	Command               []string
	Tags                  map[string]string
	Created               time.Time
}

// New starts a server. The caller must Close it.
func New(cfg Config) (*Server, error) {
	if cfg.Runtime == nil {
		return nil, errors.New("start server: no runtime")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	st, err := openStore(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	images := st
	if cfg.ImageDir != "" {
		if images, err = openStore(cfg.ImageDir); err != nil {
			return nil, err
		}
	}
	spoolDir := ""
	if cfg.StateDir != "" {
		spoolDir = filepath.Join(cfg.StateDir, "spool")
		if err := os.MkdirAll(spoolDir, 0o700); err != nil {
			return nil, fmt.Errorf("start server: %w", err)
		}
	}
	auth, err := newAuthority(cfg.TokenID, cfg.TokenSecret, st, cfg.Clock)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	listener, err := listen(context.Background(), cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	tlsConfig, err := selfSigned(listener.Addr().String(), cfg.AdvertisedHost, cfg.TunnelHost)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), listener.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		runtime:      cfg.Runtime,
		log:          cfg.Logger,
		noLeases:     cfg.NoLeases,
		hook:         cfg.Hook,
		full:         cfg.Full,
		spoil:        cfg.Spoil,
		auth:         auth,
		store:        st,
		names:        catalog{st},
		images:       catalog{images},
		spoolDir:     spoolDir,
		outputs:      newOutputBudget(cfg.OutputLimit),
		secrets:      newSecretBook(cfg.Secrets),
		proxies:      map[string]string{},
		builds:       newBuildBook(),
		calls:        newCallBook(),
		mounts:       newMountBook(),
		blobs:        newBlobBook(),
		address:      listener.Addr().String(),
		advertised:   cfg.AdvertisedHost,
		tunnelHost:   cfg.TunnelHost,
		clients:      crowd.New(crowd.Fitting(maxClients, 4), crowd.Fitting(crowd.MaxStrangers, 8), nil),
		tunnelled:    crowd.New(crowd.Fitting(maxTunnelled, 8), 0, nil),
		playGPUs:     cfg.PlayGPUs,
		tls:          tlsConfig,
		ctx:          ctx,
		cancel:       cancel,
		sandboxes:    map[string]*sandbox{},
		tasks:        map[string]*sandbox{},
		sandboxNames: map[string]*sandbox{},
		ephemeral:    map[string]time.Time{},
	}
	s.listener = newSniffingListener(crowd.Listen(ctx, listener, s.clients), tlsConfig)
	for _, name := range cfg.Proxies {
		s.proxies[name] = newID("pr-")
	}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(2*streamWindow),
		grpc.WaitForHandlers(true),
		// Before a call has shown its token, little of it is read.
		grpc.InTapHandle(s.admitCaller),
		grpc.MaxHeaderListSize(crowd.MaxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(crowd.StrangerTime),
		// Clients ping every 30 s even when they have no call open.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(s.interceptUnary),
		grpc.ChainStreamInterceptor(s.interceptStream),
		grpc.UnknownServiceHandler(unknownMethod),
	)
	s.grpc.RegisterService(controlService(), s)
	s.grpc.RegisterService(routerService(), s)
	s.grpc.RegisterService(lookupService(), s)
	s.grpc.RegisterService(leaseService(), s)
	s.work.Go(func() {
		if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.log.ErrorContext(ctx, "server stopped", "error", err)
		}
	})
	s.work.Go(s.sweepUntilClosed)
	return s, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// listenBeside listens on a free port of the server's own host.
func (s *Server) listenBeside() (net.Listener, error) {
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	return listen(s.ctx, net.JoinHostPort(host, "0"))
}

// URL is the server's address as clients take it: http://HOST:PORT.
func (s *Server) URL() string { return "http://" + s.address }

// Certificate is what tunnels and the router identify themselves with, as PEM.
// It signs itself: a client that checks certificates needs it as one that it trusts.
func (s *Server) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.tls.Certificates[0].Certificate[0]})
}

// Sandboxes lists the running sandboxes, oldest first.
func (s *Server) Sandboxes() []SandboxInfo {
	var infos []SandboxInfo
	for _, sb := range s.all() {
		if !sb.over() {
			infos = append(infos, sb.info())
		}
	}
	return infos
}

// all returns every sandbox that is still known, oldest first.
func (s *Server) all() []*sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.sandboxes), func(a, b *sandbox) int { return a.created.Compare(b.created) })
}

// Close ends every sandbox and build, waits for them and stops serving. Later
// calls return what the first one did.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	var errs []error
	var ending sync.WaitGroup
	var mu sync.Mutex
	for _, sb := range s.all() {
		ending.Go(func() {
			if err := sb.end(context.Background(), endedServerClosed); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	ending.Wait()
	s.grpc.Stop()
	s.work.Wait()
	for _, sb := range s.all() {
		sb.release()
	}
	for id := range s.ephemeral {
		if err := s.runtime.RemoveVolume(context.Background(), id); err != nil {
			errs = append(errs, err)
		}
	}
	if s.spoolDir == "" { // in memory only
		errs = append(errs, s.forgetSnapshots(context.Background()), s.forgetVolumes(context.Background()))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close server: %w", err)
	}
	return nil
}

// begin starts work that Close waits for; it reports false once Close has begun.
func (s *Server) begin(work func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(work)
	return true
}

func errClosing() error { return status.Error(codes.Unavailable, "server is closing") }

// unknownMethod answers calls that the generated code does not know: newer
// clients have more of them.
func unknownMethod(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	return status.Errorf(codes.Unimplemented, "method %s not implemented", shortMethod(name))
}

func shortMethod(full string) string { return full[strings.LastIndexByte(full, '/')+1:] }
