package modalserver

import (
	"context"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"
)

// Call is a call as a client made it.
type Call struct {
	Method  string        // without the service: "SandboxCreate"
	Request proto.Message // must not be changed
	Stream  bool          // whether the answer is a stream
}

// Hook sees a call before it runs. An error becomes the answer, a gRPC status
// as it is. It may wait; the context is the call's.
type Hook func(ctx context.Context, call Call) error

// Spoil is asked about every call that is about to run, for a function that
// sees its answer before it is sent: each message of a stream and its end, with
// the number of messages that went before. An error is sent instead. It may
// wait; the context is the call's. nil leaves the answer alone.
type Spoil func(ctx context.Context, call Call) (answer func(sent int) error)

func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	// Clients start no watcher of their own in the sandboxes of such a server.
	if !s.noLeases {
		if err := grpc.SetHeader(ctx, metadata.Pairs("seer-leases", "kept")); err != nil {
			return nil, err
		}
	}
	spoil, err := s.admit(ctx, info.FullMethod, req, false)
	if err != nil {
		return nil, err
	}
	answer, err := s.run(ctx, shortMethod(info.FullMethod), req, handler)
	if err == nil {
		err = spoil(0)
	}
	return answer, err
}

func (s *Server) run(ctx context.Context, method string, req any, handler grpc.UnaryHandler) (any, error) {
	if !createsOnce(method) {
		return handler(ctx, req)
	}
	return s.once(ctx, method, func(ctx context.Context) (any, error) { return handler(ctx, req) })
}

func (s *Server) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	admitted := &admittedStream{ServerStream: stream, server: s, method: info.FullMethod, spoil: unspoiled}
	if err := handler(srv, admitted); err != nil {
		return err
	}
	return admitted.spoil(admitted.sent)
}

// admittedStream admits a streaming call when its one request has arrived.
type admittedStream struct {
	grpc.ServerStream
	server *Server
	method string
	spoil  func(sent int) error
	sent   int
}

func (a *admittedStream) RecvMsg(m any) error {
	if err := a.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	spoil, err := a.server.admit(a.Context(), a.method, m, true)
	if err == nil {
		a.spoil = spoil
	}
	return err
}

func (a *admittedStream) SendMsg(m any) error {
	if err := a.spoil(a.sent); err != nil {
		return err
	}
	a.sent++
	return a.ServerStream.SendMsg(m)
}

func unspoiled(int) error { return nil }

// admit shows a call, whose credentials are good, to the hook. What it returns
// is called before each answer.
func (s *Server) admit(ctx context.Context, method string, req any, stream bool) (spoil func(sent int) error, err error) {
	if err := ownTask(ctx, req); err != nil {
		return nil, err
	}
	message, _ := req.(proto.Message)
	call := Call{Method: shortMethod(method), Request: message, Stream: stream}
	if s.hook != nil {
		if err := s.hook(ctx, call); err != nil {
			return nil, err
		}
	}
	if s.spoil != nil {
		spoil = s.spoil(ctx, call)
	}
	if spoil == nil {
		spoil = unspoiled
	}
	return spoil, nil
}

// admittedTask is the key of the task that a call's token is good for.
type admittedTask struct{}

// admitCaller checks the credentials of a call, which are in its headers,
// before anything of its message is kept.
func (s *Server) admitCaller(ctx context.Context, call *tap.Info) (context.Context, error) {
	if strings.HasPrefix(call.FullMethodName, "/"+pb.TaskCommandRouter_ServiceDesc.ServiceName+"/") {
		task, err := s.auth.admitRouter(ctx)
		if err != nil {
			return nil, err
		}
		ctx = context.WithValue(ctx, admittedTask{}, task)
	} else if err := s.auth.admitControl(ctx); err != nil {
		return nil, err
	}
	if from, ok := peer.FromContext(ctx); ok {
		s.clients.Know(from.Addr.String())
	}
	return ctx, nil
}

// ownTask refuses a call to the command router for another task than its token's.
func ownTask(ctx context.Context, req any) error {
	task, ok := ctx.Value(admittedTask{}).(string)
	if !ok {
		return nil
	}
	if r, ok := req.(interface{ GetTaskId() string }); ok && r.GetTaskId() != task {
		return status.Error(codes.Unauthenticated, "bearer token belongs to another task")
	}
	return nil
}
