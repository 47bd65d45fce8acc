package modalserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
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
	"google.golang.org/protobuf/types/known/emptypb"
)

// start creates a sandbox on a base image.
func start(t *testing.T, client *modal.Client, params *modal.SandboxCreateParams) *modal.Sandbox {
	t.Helper()
	sb, err := tryStart(t, client, params)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	return sb
}

func tryStart(t *testing.T, client *modal.Client, params *modal.SandboxCreateParams) (*modal.Sandbox, error) {
	t.Helper()
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	return client.Sandboxes.Create(t.Context(), app, client.Images.FromRegistry("debian:12-slim", nil), params)
}

// stubs returns bare connections to both services, as any client has them.
func stubs(t *testing.T, server *Server) (pb.ModalClientClient, pb.TaskCommandRouterClient) {
	t.Helper()
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewModalClientClient(conn), pb.NewTaskCommandRouterClient(conn)
}

// with returns a context that carries headers.
func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// router returns a task of a sandbox and a context that may call its router.
func router(t *testing.T, server *Server, sandboxID string) (context.Context, string) {
	t.Helper()
	control, _ := stubs(t, server)
	task, err := control.SandboxGetTaskId(t.Context(), pb.SandboxGetTaskIdRequest_builder{SandboxId: sandboxID}.Build())
	require.NoError(t, err)
	access, err := control.TaskGetCommandRouterAccess(t.Context(), pb.TaskGetCommandRouterAccessRequest_builder{TaskId: task.GetTaskId()}.Build())
	require.NoError(t, err)
	return with(t.Context(), "authorization", "Bearer "+access.GetJwt()), task.GetTaskId()
}

func TestFirstSandbox(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	sb := start(t, client, nil)
	require.Len(t, server.Sandboxes(), 1)
	assert.Equal(t, sb.SandboxID, server.Sandboxes()[0].ID)

	p, err := sb.Exec(t.Context(), []string{"echo", "hello"}, nil)
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
	code, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Zero(t, code)

	code, err = sb.Terminate(t.Context(), &modal.SandboxTerminateParams{Wait: true})
	require.NoError(t, err)
	assert.Equal(t, 137, code)
	assert.Empty(t, server.Sandboxes())
}

func TestCloseEndsWhatRuns(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	sb := start(t, client, nil)
	p, err := sb.Exec(t.Context(), []string{"hang"}, nil)
	require.NoError(t, err)
	waited := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := p.Wait(ctx)
		waited <- err
	}()
	require.NoError(t, server.Close())
	require.NoError(t, server.Close(), "closing twice is once")
	cancel() // the client would try for ever
	require.Error(t, <-waited)
	assert.Empty(t, server.Sandboxes())
}

func TestCredentials(t *testing.T) {
	server := serve(t, Config{TokenID: "ak-right", TokenSecret: "as-right"})
	client, err := connect(server, "ak-right", "as-right")
	require.NoError(t, err)
	client.Close()

	control, _ := stubs(t, server)
	for _, test := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"none", nil, "token ID or token secret is wrong"},
		{"wrong secret", []string{"x-modal-token-id", "ak-right", "x-modal-token-secret", "as-wrong"}, "token ID or token secret is wrong"},
		{"wrong ID", []string{"x-modal-token-id", "ak-wrong", "x-modal-token-secret", "as-right"}, "token ID or token secret is wrong"},
		{"made-up token", []string{"x-modal-token-id", "ak-right", "x-modal-token-secret", "as-right", "x-modal-auth-token", "a.b.c"}, "auth token is not valid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := control.AuthTokenGet(with(t.Context(), test.headers...), &pb.AuthTokenGetRequest{})
			assert.Equal(t, codes.Unauthenticated, status.Code(err))
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestRouterWantsTheTasksToken(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	own, task := router(t, server, start(t, client, nil).SandboxID)
	other, _ := router(t, server, start(t, client, nil).SandboxID)
	_, stub := stubs(t, server)
	auth, err := server.auth.sign(forControl, task)
	require.NoError(t, err)
	expired := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjF9.c2lnbmF0dXJl"
	for name, ctx := range map[string]context.Context{
		"no token":                 t.Context(),
		"another task's token":     other,
		"a token of another kind":  with(t.Context(), "authorization", "Bearer "+auth),
		"a token that was made up": with(t.Context(), "authorization", "Bearer "+expired),
		"not a bearer":             with(t.Context(), "authorization", "Basic abc"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stub.TaskExecPoll(ctx, pb.TaskExecPollRequest_builder{TaskId: task, ExecId: "none"}.Build())
			assert.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
			stream, err := stub.TaskExecStdioRead(ctx, pb.TaskExecStdioReadRequest_builder{TaskId: task, ExecId: "none"}.Build())
			require.NoError(t, err)
			_, err = stream.Recv()
			assert.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
		})
	}
	_, err = stub.TaskExecPoll(own, pb.TaskExecPollRequest_builder{TaskId: task, ExecId: "none"}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err), "%v", err)
}

func TestTokensOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	token, err := serve(t, Config{StateDir: dir}).auth.sign(forControl, "")
	require.NoError(t, err)
	_, err = serve(t, Config{StateDir: dir}).auth.verify(forControl, token)
	require.NoError(t, err)
	_, err = serve(t, Config{}).auth.verify(forControl, token)
	require.Error(t, err)
}

func TestWhatIsNotThereIsUnimplementedByName(t *testing.T) {
	server := serve(t, Config{})
	control, _ := stubs(t, server)
	_, err := control.AppDeploy(t.Context(), &pb.AppDeployRequest{})
	assert.Equal(t, codes.Unimplemented, status.Code(err))
	require.ErrorContains(t, err, "AppDeploy")

	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	err = conn.Invoke(t.Context(), "/modal.client.ModalClient/NotYetInvented", &emptypb.Empty{}, &emptypb.Empty{})
	assert.Equal(t, codes.Unimplemented, status.Code(err))
	require.ErrorContains(t, err, "NotYetInvented")
}

// Some clients end TLS with a protocol named, some without.
func TestTLSOnTheSamePort(t *testing.T) {
	server := serve(t, Config{})
	for name, protocols := range map[string][]string{"with ALPN": {"h2"}, "without ALPN": nil} {
		t.Run(name, func(t *testing.T) {
			certificate, err := x509.ParseCertificate(server.tls.Certificates[0].Certificate[0])
			require.NoError(t, err)
			roots := x509.NewCertPool()
			roots.AddCert(certificate)
			conn, err := grpc.NewClient("passthrough:///"+server.address,
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
					dialer := tls.Dialer{Config: &tls.Config{NextProtos: protocols, RootCAs: roots, MinVersion: tls.VersionTLS12}}
					return dialer.DialContext(ctx, "tcp", address)
				}))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			hello, err := pb.NewModalClientClient(conn).ClientHello(t.Context(), &emptypb.Empty{})
			require.NoError(t, err)
			assert.Equal(t, builderVersion, hello.GetImageBuilderVersion())
		})
	}
}

func TestCloseDoesNotWaitForSilentConnections(t *testing.T) {
	server := serve(t, Config{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.address)
	require.NoError(t, err)
	require.NoError(t, server.Close())
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

func TestHookSeesAndAnswersCalls(t *testing.T) {
	var calls []string
	server := serve(t, Config{Hook: func(_ context.Context, call Call) error {
		calls = append(calls, call.Method)
		if r, ok := call.Request.(*pb.ImageFromIdRequest); ok && r.GetImageId() == "im-forbidden" {
			return status.Error(codes.PermissionDenied, "not this one")
		}
		if r, ok := call.Request.(*pb.SandboxGetLogsRequest); ok {
			assert.True(t, call.Stream)
			return status.Error(codes.ResourceExhausted, "later: "+r.GetSandboxId())
		}
		return nil
	}})
	control, _ := stubs(t, server)
	_, err := control.ImageFromId(t.Context(), pb.ImageFromIdRequest_builder{ImageId: "im-forbidden"}.Build())
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	logs, err := control.SandboxGetLogs(t.Context(), pb.SandboxGetLogsRequest_builder{SandboxId: "sb-x"}.Build())
	require.NoError(t, err)
	_, err = logs.Recv()
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	assert.Equal(t, []string{"ImageFromId", "SandboxGetLogs"}, calls)
}

func TestCreatesOnceForAnIdempotencyKey(t *testing.T) {
	server := serve(t, Config{})
	control, _ := stubs(t, server)
	ctx := with(t.Context(), "x-idempotency-key", "one")
	request := pb.SecretGetOrCreateRequest_builder{
		ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL,
		EnvDict:            map[string]string{"A": "1"},
	}.Build()
	first, err := control.SecretGetOrCreate(ctx, request)
	require.NoError(t, err)
	again, err := control.SecretGetOrCreate(ctx, request)
	require.NoError(t, err)
	assert.Equal(t, first.GetSecretId(), again.GetSecretId())
	other, err := control.SecretGetOrCreate(with(t.Context(), "x-idempotency-key", "two"), request)
	require.NoError(t, err)
	assert.NotEqual(t, first.GetSecretId(), other.GetSecretId())
}

func TestIDsHaveTheShapeThatClientsExpect(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		id := newID("ta-")
		assert.Regexp(t, `^ta-[0-9A-Za-z]{22}$`, id)
		assert.False(t, strings.HasSuffix(id, "V"))
		assert.False(t, seen[id])
		seen[id] = true
	}
}
