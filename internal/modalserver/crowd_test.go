package modalserver

import (
	"context"
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

	"github.com/ajobi-uhc/seer-go/internal/crowd"
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
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-modal-token-secret", strings.Repeat("a", 2*crowd.MaxHeader))
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
	_, strangers := server.clients.Strangers()
	var first net.Conn
	for i := range strangers + 50 {
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
	now, _ := server.clients.Strangers()
	assert.LessOrEqual(t, now, strangers)
}
