package seer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// serviceProxy is a loopback port of this program that leads to chosen
// services and nowhere else, for callers who have no other network. It adds no
// rights: callers need the tokens of the services.
type serviceProxy struct {
	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	logger    *slog.Logger
	clients   *crowd.Crowd
	serving   sync.WaitGroup

	mu      sync.Mutex
	targets map[string]serviceTarget // by the name of the variable that holds the address
}

// serviceTarget is a service and what its callers show.
type serviceTarget struct {
	url   *url.URL
	token string // "" = unknown here: the service alone asks for it
}

func openServiceProxy(ctx context.Context, logger *slog.Logger) (*serviceProxy, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a port for services: %w", err)
	}
	p := &serviceProxy{
		listener:  listener,
		transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: idleCallers, IdleConnTimeout: time.Minute},
		logger:    logger,
		clients:   crowd.New(crowd.Fitting(maxRelayed, 16), crowd.Fitting(crowd.MaxStrangers, 16), nil),
		targets:   map[string]serviceTarget{},
	}
	p.server = crowd.HTTPServer(http.HandlerFunc(p.serve))
	p.server.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	p.server.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	crowded := crowd.Listen(context.WithoutCancel(ctx), listener, p.clients)
	p.serving.Go(func() {
		if err := p.server.Serve(crowded); !errors.Is(err, http.ErrServerClosed) {
			p.logger.Error("serve the services of a session", "error", err)
		}
	})
	return p, nil
}

func (p *serviceProxy) address() netip.AddrPort {
	return netip.MustParseAddrPort(p.listener.Addr().String())
}

// open lets callers reach the services whose addresses are among variables,
// and returns the variables with the addresses that callers use, who find the
// proxy at host.
func (p *serviceProxy) open(variables map[string]string, host string) (map[string]string, error) {
	inside := maps.Clone(variables)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range sorted(variables) {
		if !rpc.IsServiceURL(name) {
			continue
		}
		target, err := url.Parse(variables[name])
		if err != nil || target.Host == "" {
			return nil, fmt.Errorf("open the service of %s: %q is no URL", name, variables[name])
		}
		p.targets[name] = serviceTarget{target, variables[rpc.TokenVariable(name)]}
		inside[name] = "http://" + host + "/" + name
	}
	return inside, nil
}

func (p *serviceProxy) serve(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p.mu.Lock()
	target, found := p.targets[name]
	p.mu.Unlock()
	if !found || path.Clean(r.URL.Path) != r.URL.Path {
		crowd.Refuse(w, "404 page not found", http.StatusNotFound)
		return
	}
	if target.token != "" && !showsToken(r, target.token) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		crowd.Refuse(w, "token missing or wrong", http.StatusUnauthorized)
		return
	}
	p.clients.Know(r.RemoteAddr)
	forward := httputil.ReverseProxy{
		Transport: p.transport,
		ErrorLog:  p.server.ErrorLog,
		Rewrite: func(out *httputil.ProxyRequest) {
			out.Out.URL.Path, out.Out.URL.RawPath = "/"+rest, ""
			out.SetURL(target.url)
			if rest == "" {
				out.Out.URL.Path = target.url.Path
			}
		},
	}
	forward.ServeHTTP(w, r)
}

// close ends all connections, and waits.
func (p *serviceProxy) close() {
	_ = p.server.Close() // the listener's error says nothing
	p.serving.Wait()
	p.transport.CloseIdleConnections()
}
