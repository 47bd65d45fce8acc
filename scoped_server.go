package seer

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// serveFunctionsScript starts the server inside the sandbox; its docstring
// says what goes in and out.
//
//go:embed python/serve_functions.py
var serveFunctionsScript string

// functionServer is the server of a scoped sandbox's functions, as this
// program reaches it.
type functionServer struct {
	url    string // of the tunnel, or of the relay
	listen string // address inside
	client *http.Client
	relay  *relay // nil where there is a tunnel

	mu    sync.Mutex
	token string // of the control side
}

// control is the side of the server that loads services.
func (f *functionServer) control() *rpc.Server {
	return rpc.NewServer(f.url, f.controlToken(), f.client)
}

func (f *functionServer) controlToken() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.token
}

// serviceToken is the token of a service's callers. It belongs to the name, so
// that clients of a file that is served again reach the new one, and so that
// another program finds it.
func (f *functionServer) serviceToken(name string) string {
	mac := hmac.New(sha256.New, []byte(f.controlToken()))
	fmt.Fprintf(mac, "seer service %s", name)
	return hex.EncodeToString(mac.Sum(nil))
}

// allows tells whether a request shows the token of the service that it calls.
func (f *functionServer) allows(r *http.Request) bool {
	name, found := strings.CutPrefix(r.URL.Path, "/s/")
	name, _, _ = strings.Cut(name, "/")
	return found && f.controlToken() != "" && showsToken(r, f.serviceToken(name))
}

// showsToken tells whether a request has this bearer token.
func showsToken(r *http.Request, token string) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && hmac.Equal([]byte(strings.TrimSpace(given)), []byte(token))
}

// idleCallers is how many connections are kept for callers to come.
const idleCallers = 32

// functions returns the server of functions, which it starts if none runs.
func (s *ScopedSandbox) functions(ctx context.Context) (*functionServer, error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, s.callError("reach functions", ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()
	remote, err := s.running()
	if err != nil {
		return nil, err
	}
	config := s.config.withDefaults()
	limited, cancel := context.WithTimeout(ctx, config.WaitTimeout)
	defer cancel()
	if s.server != nil && s.server.control().Health(limited) == nil {
		return s.server, nil
	}
	err = s.serveFunctions(limited, remote, config.RPCPort)
	var timeout *TimeoutError
	switch {
	case err == nil:
		return s.server, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &timeout):
		return nil, &TimeoutError{Op: "start the server of functions", After: config.WaitTimeout, Err: err}
	}
	return nil, fmt.Errorf("start the server of functions: %w", err)
}

// serveFunctions is called with the turn taken.
func (s *ScopedSandbox) serveFunctions(ctx context.Context, remote *modalclient.Sandbox, port int) error {
	if s.server == nil {
		way, err := s.wayToFunctions(ctx, remote, port)
		if err != nil {
			return err
		}
		if err := s.whenLeft(way.close); err != nil {
			way.close()
			return err
		}
		s.server = way
	}
	binary, err := rpc.Files()
	if err != nil {
		return err
	}
	files := make(map[string]string, len(binary))
	for name, content := range binary {
		files[name] = string(content)
	}
	var answer struct {
		Token string `json:"token"`
	}
	err = s.service(ctx, remote, serveFunctionsScript, map[string]any{
		"files": files, "host": s.server.listen, "port": port, "root": sandboxWorkspace, "token": rand.Text() + rand.Text(),
	}, &answer)
	if err != nil {
		return err
	}
	if !plainSecret.MatchString(answer.Token) {
		return errors.New("what it calls its token is none")
	}
	s.server.mu.Lock()
	s.server.token = answer.Token
	s.server.mu.Unlock()
	return awaitFunctions(ctx, s.server.control())
}

// wayToFunctions is the tunnel of the port, or a relay where none is open.
func (s *ScopedSandbox) wayToFunctions(ctx context.Context, remote *modalclient.Sandbox, port int) (*functionServer, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: idleCallers, IdleConnTimeout: time.Minute}
	way := &functionServer{listen: "0.0.0.0", client: &http.Client{Transport: transport}}
	open, err := s.tunnels(ctx, remote)
	if err != nil {
		return nil, s.callError("find tunnels", err)
	}
	if url, ok := open[port]; ok {
		way.url = url
		return way, nil
	}
	way.listen = "127.0.0.1"
	dial := func(ctx context.Context) (net.Conn, error) { return s.dialInside(ctx, remote, port) }
	way.relay, err = openRelay(ctx, s.opts.logger, way.allows, dial)
	if err != nil {
		return nil, fmt.Errorf("relay port %d: %w", port, err)
	}
	way.url = way.relay.url
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return way.relay.connect(ctx) }
	return way, nil
}

func (f *functionServer) close() {
	f.client.CloseIdleConnections()
	if f.relay != nil {
		f.relay.close()
	}
}

const (
	firstPause = 5 * time.Millisecond
	maxPause   = 500 * time.Millisecond
)

// awaitFunctions waits for the way to a server that answers inside already.
func awaitFunctions(ctx context.Context, control *rpc.Server) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := control.Health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// whenLeft calls clean once the sandbox is terminated or closed, which waits
// for it.
func (s *Sandbox) whenLeft(clean func()) error {
	if _, err := s.running(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseRunning {
		return ErrTerminated
	}
	stopped := s.stopped
	s.tasks.Go(func() {
		<-stopped.Done()
		clean()
	})
	return nil
}
