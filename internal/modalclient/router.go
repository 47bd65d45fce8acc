package modalclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"sync"
	"sync/atomic"
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
	// dialPatience is how long one try to connect to a router may take.
	dialPatience = 10 * time.Second
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
	patience Patience

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// unary bounds one try of each call, but of those that wait for a command.
func (r *routers) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call := func(ctx context.Context) error { return invoke(ctx, method, request, reply, conn, opts...) }
	switch path.Base(method) {
	case "TaskExecWait", "TaskExecStdinWrite":
		return call(ctx)
	}
	patience, _ := r.patience.try(method, request)
	return within(ctx, patience, method, call)
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
			MinConnectTimeout: dialPatience,
		}),
		grpc.WithUnaryInterceptor(r.unary),
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

	lock  chan struct{}    // holds one token; guards access while it may block
	conn  *grpc.ClientConn // the router's, or as long as none is known the control plane's
	stub  pb.TaskCommandRouterClient
	token string

	refusal atomic.Pointer[error] // what the last question for access came to
}

func newTask(client *Client, id string) *task {
	t := &task{id: id, client: client, conn: client.conn, lock: make(chan struct{}, 1)}
	t.lock <- struct{}{}
	return t
}

// connection is the one to ask whether anything listens.
func (t *task) connection() *grpc.ClientConn {
	<-t.lock
	defer func() { t.lock <- struct{}{} }()
	return t.conn
}

// access returns the router and a token other than the stale one.
func (t *task) access(ctx context.Context, stale string) (pb.TaskCommandRouterClient, string, error) {
	select {
	case <-t.lock:
		defer func() { t.lock <- struct{}{} }()
	case <-ctx.Done():
		return nil, "", t.waited(ctx)
	}
	if t.stub != nil && t.token != stale {
		return t.stub, t.token, nil
	}
	response, err := t.client.api.TaskGetCommandRouterAccess(ctx, pb.TaskGetCommandRouterAccessRequest_builder{TaskId: t.id}.Build())
	if err != nil {
		t.refusal.Store(&err)
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
	t.conn, t.stub, t.token = conn, pb.NewTaskCommandRouterClient(conn), response.GetJwt()
	return t.stub, t.token, nil
}

// waited is the end of the caller's patience with who asks for access, with
// the server's words where there are some: a moment later that one has given
// up, too, if both had the same patience.
func (t *task) waited(ctx context.Context) error {
	const moment = 100 * time.Millisecond
	select {
	case <-t.lock:
		t.lock <- struct{}{}
	case <-time.After(moment):
	}
	err := context.Cause(ctx)
	if refusal := t.refusal.Load(); refusal != nil {
		return withWords(err, *refusal)
	}
	return err
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
	told  time.Time
	quiet int    // tries in a row without an answer
	words string // the server's, of the last failure
	tries int    // without an answer that are enough; 0 = the usual number

	hear func(words string) // nil, or told of words
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
			if a.words != "" {
				a.progress()
			}
			return nil
		}
		if err := a.failed(ctx, token, err); err != nil {
			return err
		}
	}
}

// progress forgets earlier failures.
func (a *attempts) progress() {
	a.stale, a.since, a.delay, a.quiet = "", time.Time{}, 0, 0
	a.say("")
}

// failed waits for the next attempt, or returns why there should be none.
func (a *attempts) failed(ctx context.Context, token string, err error) error {
	if ctx.Err() != nil {
		return a.given(context.Cause(ctx))
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
	var spent *spentError
	if !transient(err) && !gone(err) || limited(err) && hopeless.MatchString(err.Error()) || errors.As(err, &spent) {
		return failure(ctx, a.op, err)
	}
	if code := st.Code(); silent(err) || code != codes.DeadlineExceeded && code != codes.Canceled { // else it is only late
		a.say(plain(st.Message()))
	}
	if a.since.IsZero() {
		a.since, a.delay = time.Now(), firstRetry
		if !gone(err) && !silent(err) { // a brief loss is no reason to ask about the sandbox
			return a.pause(ctx, maxRetry)
		}
	}
	checkCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	verdict := a.sandbox.check(checkCtx, endPatience)
	cancel()
	if silent(err) {
		a.quiet++
	}
	switch {
	case errors.Is(verdict, ErrTerminated):
		return fmt.Errorf("%s: %w", a.op, verdict)
	case ctx.Err() != nil:
		return a.given(context.Cause(ctx))
	case errors.Is(verdict, ErrNotFound), st.Code() == codes.NotFound:
		return a.lost(err)
	case !transient(err):
		return failure(ctx, a.op, err)
	case limited(err):
		if time.Since(a.told) >= newsEvery && time.Since(a.since) >= newsAfter {
			a.told = time.Now()
			tell(ctx, a.sandbox.client.log, a.since, a.op, a.words)
		}
		return a.pause(ctx, maxBackOff)
	case silent(err) && a.quiet < cmp.Or(a.tries, silentTries):
		return a.pause(ctx, maxRetry)
	case silent(err), time.Since(a.since) > a.sandbox.client.patience.tolerance(a.task.connection()):
		return a.lost(err)
	}
	return a.pause(ctx, maxRetry)
}

func (a *attempts) pause(ctx context.Context, slowest time.Duration) error {
	delay := jitter(a.delay)
	a.delay = min(2*a.delay, slowest)
	if err := sleep(ctx, delay); err != nil {
		return a.given(err)
	}
	return nil
}

func (a *attempts) say(words string) {
	if a.hear != nil && words != a.words {
		a.hear(words)
	}
	a.words = words
}

// given is the error for a caller who has given up.
func (a *attempts) given(cause error) error {
	if a.words != "" {
		cause = &waitedError{cause: cause, words: a.words}
	}
	return fmt.Errorf("%s: %w", a.op, cause)
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
	attempt := s.attempts(t, "snapshot "+path)
	attempt.tries = 2
	err = attempt.do(ctx, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
		response, err := router.TaskSnapshotDirectory(ctx, pb.TaskSnapshotDirectoryRequest_builder{TaskId: t.id, Path: []byte(path)}.Build())
		id = response.GetImageId()
		return err
	})
	return id, err
}
