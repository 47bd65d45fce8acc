package modalclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	firstRetry = 20 * time.Millisecond
	maxRetry   = time.Second
	// A router that stays away this long takes its sandbox with it. One on
	// this machine has no network to blame.
	lostAfter      = 10 * time.Second
	lostAfterLocal = 2 * time.Second
	// A command's end reaches us a little before its sandbox's does.
	endPatience  = 300 * time.Millisecond
	checkTimeout = 3 * time.Second

	maxMessage   = 100 << 20 // bytes, as the server sends at most
	streamWindow = 16 << 20
	connWindow   = 64 << 20
)

// routers are the connections to command routers, one for every host however
// many of its sandboxes are in use.
type routers struct {
	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

func (r *routers) conn(target string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if conn, found := r.conns[target]; found {
		return conn, nil
	}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(creds),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		// gRPC's own pauses grow far beyond the time after which a sandbox counts as lost.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 2, Jitter: 0.2, MaxDelay: maxRetry},
			MinConnectTimeout: lostAfter,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
	)
	if err != nil {
		return nil, err
	}
	if r.conns == nil {
		r.conns = make(map[string]*grpc.ClientConn)
	}
	r.conns[target] = conn
	return conn, nil
}

func (r *routers) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for _, conn := range r.conns {
		errs = append(errs, conn.Close())
	}
	r.conns = nil
	return errors.Join(errs...)
}

// task is a scheduled sandbox, which takes commands through a router.
type task struct {
	id     string
	client *Client

	lock  chan struct{} // holds one token; guards access while it may block
	stub  pb.TaskCommandRouterClient
	token string
}

func newTask(client *Client, id string) *task {
	t := &task{id: id, client: client, lock: make(chan struct{}, 1)}
	t.lock <- struct{}{}
	return t
}

// access returns the router and a token other than the stale one.
func (t *task) access(ctx context.Context, stale string) (pb.TaskCommandRouterClient, string, error) {
	select {
	case <-t.lock:
		defer func() { t.lock <- struct{}{} }()
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	}
	if t.stub != nil && t.token != stale {
		return t.stub, t.token, nil
	}
	response, err := t.client.api.TaskGetCommandRouterAccess(ctx, pb.TaskGetCommandRouterAccessRequest_builder{TaskId: t.id}.Build())
	if err != nil {
		return nil, "", err
	}
	target, err := url.Parse(response.GetUrl())
	if err != nil || target.Scheme != "https" {
		return nil, "", fmt.Errorf("malformed router URL %q", response.GetUrl())
	}
	port := target.Port()
	if port == "" {
		port = "443"
	}
	creds := credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	if t.client.local {
		creds = insecure.NewCredentials()
	}
	conn, err := t.client.routers.conn(net.JoinHostPort(target.Hostname(), port), creds)
	if err != nil {
		return nil, "", err
	}
	t.stub, t.token = pb.NewTaskCommandRouterClient(conn), response.GetJwt()
	return t.stub, t.token, nil
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// attempts carries an operation on a router through losses of the connection,
// until it is clear that the sandbox has ended or is lost.
type attempts struct {
	sandbox *Sandbox
	task    *task
	op      string

	stale string    // a token that the router refused; one for each row of failures
	since time.Time // of the first failure in a row
	delay time.Duration
}

func (s *Sandbox) attempts(t *task, op string) *attempts {
	return &attempts{sandbox: s, task: t, op: op}
}

// do calls the router until call succeeds or it is of no use.
func (a *attempts) do(ctx context.Context, call func(context.Context, pb.TaskCommandRouterClient) error) error {
	for {
		stub, token, err := a.task.access(ctx, a.stale)
		if err == nil {
			err = call(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), stub)
		}
		if err == nil {
			return nil
		}
		if err := a.failed(ctx, token, err); err != nil {
			return err
		}
	}
}

// progress forgets earlier failures.
func (a *attempts) progress() {
	a.stale, a.since, a.delay = "", time.Time{}, 0
}

// failed waits for the next attempt, or returns why there should be none.
func (a *attempts) failed(ctx context.Context, token string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", a.op, context.Cause(ctx))
	}
	if ended := a.sandbox.ended(); ended != nil {
		return fmt.Errorf("%s: %w", a.op, ended)
	}
	st := statusOf(err)
	// Without a token it was not the router that refused, and what may be renewed
	// has been, once, by the call itself.
	if st != nil && st.Code() == codes.Unauthenticated && a.stale == "" && token != "" {
		a.stale = token
		return nil
	}
	if !transient(err) && !gone(err) {
		return failure(ctx, a.op, err)
	}
	if a.since.IsZero() {
		a.since, a.delay = time.Now(), firstRetry
		if !gone(err) { // a brief loss is no reason to ask about the sandbox
			return a.pause(ctx)
		}
	}
	checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	verdict := a.sandbox.check(checkCtx, endPatience)
	cancel()
	switch {
	case errors.Is(verdict, ErrTerminated):
		return fmt.Errorf("%s: %w", a.op, verdict)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", a.op, context.Cause(ctx))
	case errors.Is(verdict, ErrNotFound), st.Code() == codes.NotFound:
		return a.lost(err)
	case !transient(err):
		return failure(ctx, a.op, err)
	}
	limit := lostAfter
	if a.sandbox.client.local {
		limit = lostAfterLocal
	}
	if time.Since(a.since) > limit {
		return a.lost(err)
	}
	return a.pause(ctx)
}

func (a *attempts) pause(ctx context.Context) error {
	delay := jitter(a.delay)
	a.delay = min(2*a.delay, maxRetry)
	if err := sleep(ctx, delay); err != nil {
		return fmt.Errorf("%s: %w", a.op, err)
	}
	return nil
}

// gone reports whether the router knows the task or the command no more.
func gone(err error) bool {
	st := statusOf(err)
	return st != nil && (st.Code() == codes.NotFound || st.Code() == codes.FailedPrecondition)
}

func (a *attempts) lost(err error) error {
	message := err.Error()
	if st := statusOf(err); st != nil {
		message = plain(st.Message())
	}
	return &Error{Op: a.op, Kind: ErrSandboxLost, Message: fmt.Sprintf("sandbox %s lost: %s", a.sandbox.id, message)}
}

// SnapshotDir stores one directory as an image whose root is that directory, and returns its ID.
func (s *Sandbox) SnapshotDir(ctx context.Context, path string) (string, error) {
	t, err := s.ready(ctx)
	if err != nil {
		return "", err
	}
	id := ""
	err = s.attempts(t, "snapshot "+path).do(ctx, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
		response, err := router.TaskSnapshotDirectory(ctx, pb.TaskSnapshotDirectoryRequest_builder{TaskId: t.id, Path: []byte(path)}.Build())
		id = response.GetImageId()
		return err
	})
	return id, err
}
