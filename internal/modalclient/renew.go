package modalclient

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const authToken = "x-modal-auth-token"

// renewer replaces a token that the server takes no more. modal-go fetches
// another when this machine's clock says so, which may be too late: the
// server's may be ahead, or have forgotten its keys.
type renewer struct {
	mu           sync.Mutex
	stale, fresh string
}

func (n *renewer) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	headers, _ := metadata.FromOutgoingContext(ctx)
	given := headers.Get(authToken)
	if len(given) == 0 { // the call that fetches one
		err := invoke(ctx, method, request, reply, conn, opts...)
		if response, ok := reply.(*pb.AuthTokenGetResponse); ok && err == nil {
			err = usable(response.GetToken(), time.Now())
		}
		return err
	}
	token := n.replacement(given[0])
	call := func(token string) error {
		headers := headers.Copy()
		headers.Set(authToken, token)
		return invoke(metadata.NewOutgoingContext(ctx, headers), method, request, reply, conn, opts...)
	}
	err := call(token)
	if status.Code(err) != codes.Unauthenticated {
		return err
	}
	fresh, fetchErr := n.renew(ctx, given[0], token, conn)
	if fetchErr != nil {
		return err
	}
	return call(fresh)
}

// usable refuses a token that modal-go would take for expired, and then ask
// for another one again and again.
func usable(token string, now time.Time) error {
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil || claims.ExpiresAt == nil {
		return nil //nolint:nilerr // modal-go knows what to do with a token that says nothing
	}
	late := now.Sub(claims.ExpiresAt.Time)
	if late < 0 {
		return nil
	}
	return &Error{Op: "get auth token", Kind: ErrUnauthorized, Message: fmt.Sprintf(
		"by this machine's clock a fresh token expired %s ago: set the clock", late.Round(time.Second))}
}

// replacement is the token to send where modal-go would send another.
func (n *renewer) replacement(given string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fresh != "" && given == n.stale {
		return n.fresh
	}
	return given
}

// renew fetches another token than the refused one, unless somebody has.
func (n *renewer) renew(ctx context.Context, given, refused string, conn *grpc.ClientConn) (string, error) {
	if token := n.replacement(given); token != refused {
		return token, nil
	}
	bare := metadata.NewOutgoingContext(ctx, nil) // modal-go adds its headers anew
	response, err := pb.NewModalClientClient(conn).AuthTokenGet(bare, &pb.AuthTokenGetRequest{})
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stale, n.fresh = given, response.GetToken()
	return n.fresh, nil
}
