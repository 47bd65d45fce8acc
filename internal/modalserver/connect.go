package modalserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
)

const (
	connectPort       = 8080 // where a sandbox serves those who come with a token
	connectParameter  = "_modal_connect_token"
	connectUserHeader = "X-Verified-User-Data"
)

// connectProxy is an HTTP server in front of a sandbox's port 8080 that lets in
// who presents a connect token.
type connectProxy struct {
	server *http.Server
	url    string
}

// SandboxCreateConnectToken lets its holder make HTTP requests to port 8080 of a sandbox.
func (s *Server) SandboxCreateConnectToken(_ context.Context, r *pb.SandboxCreateConnectTokenRequest) (*pb.SandboxCreateConnectTokenResponse, error) {
	sb, err := s.findRunning(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	proxy, err := s.connectProxyOf(sb)
	if err != nil {
		return nil, err
	}
	token, err := s.auth.sign(forConnect, sb.id+" "+r.GetUserMetadata())
	if err != nil {
		return nil, failure("sign connect token", err)
	}
	return pb.SandboxCreateConnectTokenResponse_builder{Url: proxy.url, Token: token}.Build(), nil
}

// connectProxyOf returns the sandbox's proxy, which it starts if there is none.
func (s *Server) connectProxyOf(sb *sandbox) (*connectProxy, error) {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.result != nil {
		return nil, sb.endedLocked()
	}
	if sb.connect != nil {
		return sb.connect, nil
	}
	listener, err := s.listenBeside()
	if err != nil {
		return nil, failure("serve connect tokens", err)
	}
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(sb.id, strconv.Itoa(connectPort))}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return sb.run.Dial(ctx, connectPort) },
	}
	forward := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
	}
	clients := crowd.New(crowd.Fitting(maxTunnelledEach, 16), crowd.Fitting(crowd.MaxStrangers, 8), s.tunnelled)
	listener = crowd.Listen(s.ctx, listener, clients)
	server := crowd.HTTPServer(s.auth.onlyConnected(sb.id, clients, forward))
	started := s.begin(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.WarnContext(s.ctx, "connect proxy stopped", "sandbox", sb.id, "error", err)
		}
		transport.CloseIdleConnections()
	})
	if !started {
		_ = listener.Close()
		return nil, errClosing()
	}
	sb.connect = &connectProxy{server: server, url: "http://" + listener.Addr().String()}
	return sb.connect, nil
}

func (p *connectProxy) close() {
	if p != nil {
		_ = p.server.Close()
	}
}

// onlyConnected passes on requests with a token for the sandbox, in a header, a
// query parameter or a cookie, and without it.
func (a *authority) onlyConnected(sandboxID string, clients *crowd.Crowd, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		query := r.URL.Query()
		if found {
			r.Header.Del("Authorization")
		} else if token = query.Get(connectParameter); token != "" {
			query.Del(connectParameter)
			r.URL.RawQuery = query.Encode()
			http.SetCookie(w, &http.Cookie{
				Name: connectParameter, Value: token, Path: "/",
				HttpOnly: true, SameSite: http.SameSiteLaxMode, Expires: time.Now().Add(tokenLifetime),
			})
		} else if cookie, err := r.Cookie(connectParameter); err == nil {
			token = cookie.Value
		}
		subject, err := a.verify(forConnect, token)
		holder, user, _ := strings.Cut(subject, " ")
		if err != nil || holder != sandboxID {
			http.Error(w, "a valid connect token is needed", http.StatusUnauthorized)
			return
		}
		clients.Know(r.RemoteAddr)
		r.Header.Set(connectUserHeader, user)
		next.ServeHTTP(w, r)
	})
}
