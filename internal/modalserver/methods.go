package modalserver

import (
	"context"
	"slices"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// controlService is Modal's control plane as newer clients know it: theirs are
// the calls of modal-go v0.7.0 and those that have been added since. Calls with
// a V2 behind their name take and give the same messages as those without it.
func controlService() *grpc.ServiceDesc {
	desc := pb.ModalClient_ServiceDesc
	name := desc.ServiceName
	desc.Methods = slices.Concat(desc.Methods, []grpc.MethodDesc{
		unary(name, "SandboxCreateV2", (*Server).sandboxCreateV2),
		unary(name, "SandboxGetCommandRouterAccess", (*Server).sandboxGetCommandRouterAccess),
		unary(name, "MountBatchedCheckExistence", (*Server).mountBatchedCheckExistence),
		unary(name, "SandboxCreateConnectTokenV2", (*Server).SandboxCreateConnectToken),
		unary(name, "SandboxGetFromNameV2", (*Server).SandboxGetFromName),
		unary(name, "SandboxGetTaskIdV2", (*Server).SandboxGetTaskId),
		unary(name, "SandboxGetTunnelsV2", (*Server).SandboxGetTunnels),
		unary(name, "SandboxListV2", (*Server).SandboxList),
		unary(name, "SandboxTagsGetV2", (*Server).SandboxTagsGet),
		unary(name, "SandboxTagsSetV2", (*Server).SandboxTagsSet),
		unary(name, "SandboxTerminateV2", (*Server).SandboxTerminate),
		unary(name, "SandboxWaitV2", (*Server).SandboxWait),
	})
	return &desc
}

// routerService is the command router as newer clients know it.
func routerService() *grpc.ServiceDesc {
	desc := pb.TaskCommandRouter_ServiceDesc
	name := desc.ServiceName
	desc.Methods = slices.Concat(desc.Methods, []grpc.MethodDesc{
		unary(name, "SandboxStdinWriteV2", (*Server).sandboxStdinWriteV2),
		unary(name, "TaskReloadVolumes", (*Server).taskReloadVolumes),
		unary(name, "TaskSnapshotFilesystem", (*Server).taskSnapshotFilesystem),
	})
	desc.Streams = slices.Concat(desc.Streams, []grpc.StreamDesc{
		{StreamName: "SandboxStdioReadV2", Handler: stdioReadV2, ServerStreams: true},
	})
	return &desc
}

// message is a pointer to T that is a protocol buffer.
type message[T any] interface {
	*T
	proto.Message
}

// unary describes a call that the generated code does not know.
func unary[T any, Request message[T], Answer any](service, name string, answer func(*Server, context.Context, Request) (Answer, error)) grpc.MethodDesc {
	handle := func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		request := Request(new(T))
		if err := decode(request); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + service + "/" + name}
		return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
			return answer(srv.(*Server), ctx, request.(Request)) //nolint:errcheck // What is registered, and what was decoded above.
		})
	}
	return grpc.MethodDesc{MethodName: name, Handler: handle}
}

// fieldsSince reads the fields of a message that modal-go's type for it does
// not have.
func fieldsSince(known, fields proto.Message) error {
	if err := proto.Unmarshal(known.ProtoReflect().GetUnknown(), fields); err != nil {
		return invalid("%s: %v", known.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}
