package modalserver

import (
	"context"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := s.admit(ctx, info.FullMethod, req, false); err != nil {
		return nil, err
	}
	method := shortMethod(info.FullMethod)
	if !createsOnce(method) {
		return handler(ctx, req)
	}
	return s.once(ctx, method, func(ctx context.Context) (any, error) { return handler(ctx, req) })
}

func (s *Server) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &admittedStream{ServerStream: stream, server: s, method: info.FullMethod})
}

// admittedStream admits a streaming call when its one request has arrived.
type admittedStream struct {
	grpc.ServerStream
	server *Server
	method string
}

func (a *admittedStream) RecvMsg(m any) error {
	if err := a.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return a.server.admit(a.Context(), a.method, m, true)
}

// admit checks a call's credentials and shows it to the hook.
func (s *Server) admit(ctx context.Context, method string, req any, stream bool) error {
	if strings.HasPrefix(method, "/"+pb.TaskCommandRouter_ServiceDesc.ServiceName+"/") {
		task, err := s.auth.admitRouter(ctx)
		if err != nil {
			return err
		}
		if r, ok := req.(interface{ GetTaskId() string }); ok && r.GetTaskId() != task {
			return status.Error(codes.Unauthenticated, "bearer token belongs to another task")
		}
	} else if err := s.auth.admitControl(ctx); err != nil {
		return err
	}
	if s.hook == nil {
		return nil
	}
	message, _ := req.(proto.Message)
	return s.hook(ctx, Call{Method: shortMethod(method), Request: message, Stream: stream})
}
