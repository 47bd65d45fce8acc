package modalclient

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
)

// Client is a connection to Modal or to a server that speaks its protocol.
type Client struct {
	modal          *modal.Client
	conn           *grpc.ClientConn // modal-go's, so with its headers, token and retries
	api            pb.ModalClientClient
	log            *slog.Logger
	environment    string
	builderVersion string
	plainTunnels   bool
	patience       Patience
	local          bool        // the server runs on this machine
	leases         atomic.Bool // it keeps leases
	routers        routers
	memory         memory

	life   context.Context // ends with Close; parent of every sandbox's
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // kills under way in any sandbox
}

// New connects and fetches the first token; ctx bounds both. The error is an
// ErrUnauthorized when there is no token or the server refuses it.
func New(ctx context.Context, config Config) (*Client, error) {
	c := &Client{log: config.Logger, plainTunnels: config.PlainTunnels, patience: config.Patience.withDefaults()}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	params := &modal.ClientParams{Logger: c.log}
	if err := c.configure(config, params); err != nil {
		return nil, err
	}

	steady := &steady{patience: c.patience, log: c.log}
	dial := &dialer{ctx: ctx, serverURL: config.ServerURL}
	params.GRPCUnaryInterceptors = []grpc.UnaryClientInterceptor{dial.unary, (&renewer{}).unary, steady.unary, rewrite, c.hearLeases}
	params.GRPCStreamInterceptors = []grpc.StreamClientInterceptor{dial.stream, steady.stream}
	client, err := modal.NewClientWithOptions(params)
	conn := dial.done()
	if err != nil {
		if conn != nil {
			_ = conn.Close() // modal-go forgets it
		}
		return nil, failure(ctx, "connect to "+serverName(config), err)
	}
	c.routers.patience = c.patience
	c.modal = client
	c.conn, c.api = conn, pb.NewModalClientClient(conn)
	c.local = isLoopback(conn.Target())
	c.life, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return c, nil
}

// configure settles the profile: the user's for Modal, one of our own otherwise.
func (c *Client) configure(config Config, params *modal.ClientParams) error {
	var p profile
	if config.ServerURL == "" {
		var err error
		if p, err = lookupProfile(); err != nil {
			return err
		}
	} else {
		p = profile{ServerURL: config.ServerURL, Environment: localEnvironment}
	}
	for field, value := range map[*string]string{
		&p.TokenID:             config.TokenID,
		&p.TokenSecret:         config.TokenSecret,
		&p.Environment:         config.Environment,
		&p.ImageBuilderVersion: config.BuilderVersion,
	} {
		if value != "" {
			*field = value
		}
	}
	if p.TokenID == "" || p.TokenSecret == "" {
		return &Error{Op: "connect to " + serverName(config), Kind: ErrUnauthorized, Message: "no token: " + tokenAdvice}
	}
	if p.ImageBuilderVersion == "" {
		p.ImageBuilderVersion = defaultBuilderVersion
	}
	c.environment, c.builderVersion = p.Environment, p.ImageBuilderVersion
	params.TokenID, params.TokenSecret, params.Environment = p.TokenID, p.TokenSecret, p.Environment
	if config.ServerURL == "" {
		return nil
	}
	text, err := encodeProfiles(p)
	if err == nil {
		params.Config, err = decode(params.Config, text)
	}
	if err != nil {
		return fmt.Errorf("configure modal-go: %w", err)
	}
	return nil
}

// HostName is what sandboxes call this machine's loopback address, as far as
// the server lets them reach it; "" = they run elsewhere.
func (c *Client) HostName() string {
	if !c.local {
		return ""
	}
	return "host.seer.internal"
}

// Close detaches every sandbox, which runs on, and closes all connections. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
	if !first {
		return nil
	}
	c.cancel(ErrClosed)
	err := c.routers.close()
	c.modal.Close()
	return err
}

func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Add(1)
	}
	return !c.closed
}

// dialer watches modal-go make its connection: it bounds the first calls by
// the caller's context, takes hold of the connection, and refuses every server
// but the intended one.
type dialer struct {
	serverURL string // "" = any

	mu   sync.Mutex
	ctx  context.Context // nil once connected
	conn *grpc.ClientConn
}

// done ends the phase in which calls are bounded by the caller's context.
func (d *dialer) done() *grpc.ClientConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = nil
	return d.conn
}

func (d *dialer) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	d.mu.Lock()
	starting := d.ctx
	if starting != nil {
		d.conn = conn
	}
	d.mu.Unlock()
	if err := d.check(conn); err != nil {
		return err
	}

	if starting != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(starting, cancel)()
	}
	err := invoke(ctx, method, request, reply, conn, opts...)
	if ctx.Err() != nil && statusOf(err) != nil {
		return ctx.Err() // not a status, so that modal-go does not try again
	}
	return err
}

func (d *dialer) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := d.check(conn); err != nil {
		return nil, err
	}
	return open(ctx, desc, conn, method, opts...)
}

func (d *dialer) check(conn *grpc.ClientConn) error {
	if d.serverURL == "" || conn.Target() == hostPort(d.serverURL) {
		return nil
	}
	return &wrongServerError{target: conn.Target(), variable: os.Getenv("MODAL_SERVER_URL") != ""}
}

// wrongServerError says that modal-go was about to call a server that nobody asked for.
type wrongServerError struct {
	target   string
	variable bool // MODAL_SERVER_URL did it
}

func (e *wrongServerError) Error() string {
	if e.variable {
		return fmt.Sprintf("MODAL_SERVER_URL points to %s instead: unset it", e.target)
	}
	return "refused to call " + e.target
}

func serverName(config Config) string {
	if config.ServerURL == "" {
		return "Modal"
	}
	return config.ServerURL
}

func hostPort(serverURL string) string {
	_, target, found := strings.Cut(serverURL, "://")
	if !found {
		return serverURL
	}
	return target
}
