package modalserver

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	modal "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// plainConn connects to the server without any of a client's own doings.
func plainConn(t *testing.T, server *Server) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// Every call is refused by its headers: nothing of a message is waited for, or
// kept, that nobody has vouched for.
func TestCallsAreRefusedBeforeTheirMessages(t *testing.T) {
	server := serve(t, Config{TokenID: "ak-right", TokenSecret: "as-right"})
	conn := plainConn(t, server)
	for service, description := range server.grpc.GetServiceInfo() {
		for _, method := range description.Methods {
			ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(),
				"x-modal-token-id", "ak-right", "x-modal-token-secret", "as-wrong", "authorization", "Bearer x.y.z"))
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+service+"/"+method.Name)
			require.NoError(t, err)
			err = stream.RecvMsg(&pb.AppGetOrCreateResponse{})
			assert.Equal(t, codes.Unauthenticated, status.Code(err), "%s: %v", method.Name, err)
			cancel()
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	server := serve(t, Config{TokenID: "ak-right", TokenSecret: "as-right"})
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-modal-token-secret", strings.Repeat("a", 2*maxHeader))
	_, err := pb.NewModalClientClient(plainConn(t, server)).AuthTokenGet(ctx, &pb.AuthTokenGetRequest{})
	require.Error(t, err)
	assert.NotEqual(t, codes.Unauthenticated, status.Code(err), "%v", err)
}

// Whoever comes without a token and stays is pushed out by the next ones, and
// those that have one are served all the while.
func TestStrangersMakeRoom(t *testing.T) {
	server := serve(t, Config{TokenID: "ak-test", TokenSecret: "as-test"})
	client := dial(t, server)
	_, err := client.Apps.FromName(t.Context(), "app", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	var first net.Conn
	for i := range server.clients.strangers + 50 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		if i == 0 {
			first = conn
		}
		if i%2 == 0 {
			_, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
			require.NoError(t, err)
		}
	}
	_, err = io.Copy(io.Discard, first)
	if err != nil {
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	_, err = client.Apps.FromName(t.Context(), "app", nil)
	require.NoError(t, err)
	_, err = dial(t, server).Apps.FromName(t.Context(), "app", nil)
	require.NoError(t, err)
	server.clients.mu.Lock()
	defer server.clients.mu.Unlock()
	assert.LessOrEqual(t, len(server.clients.unknown), server.clients.strangers)
}

// failing is a listener of a process that has no descriptor left for a while.
type failing struct {
	net.Listener
	errors []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errors) > 0 {
		err := f.errors[0]
		f.errors = f.errors[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	return f.Listener.Accept()
}

func TestListenersOutliveErrors(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	crowd := newCrowd(2, 0, newCrowd(1, 0, nil))
	listener := newCrowdedListener(t.Context(), &failing{l, []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, errors.New("something else"),
	}}, crowd)
	for range 2 {
		client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		conn, err := listener.Accept()
		require.NoError(t, err)
		_, allowed := crowd.admit(client)
		assert.False(t, allowed, "one more than the crowd around this one takes")
		require.NoError(t, conn.Close())
		require.NoError(t, conn.Close(), "closed twice counts once")
	}
	require.NoError(t, listener.Close())
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	assert.Empty(t, crowd.all)
	assert.Empty(t, crowd.within.all)
}
