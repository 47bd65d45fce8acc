package modalserver

import (
	"context"
	"errors"
	"io"
	"testing"

	modal "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Every call of the protocol is answered, or refused as one that is not there.
func TestEachCallIsThereOrUnimplementedByName(t *testing.T) {
	server := serve(t, Config{})
	authorized, _ := router(t, server, start(t, dial(t, server), nil).SandboxID)
	conn, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })

	missing := map[string]bool{}
	check := func(name string, err error) {
		if code := status.Code(err); code == codes.Unimplemented {
			missing[name] = true
			assert.ErrorContains(t, err, name)
		} else {
			// Clients try these again and again.
			assert.NotContains(t, []codes.Code{codes.Unknown, codes.Internal, codes.DeadlineExceeded}, code, "%s: %v", name, err)
		}
	}
	for _, service := range []*grpc.ServiceDesc{controlService(), routerService()} {
		for _, method := range service.Methods {
			check(method.MethodName, conn.Invoke(authorized, "/"+service.ServiceName+"/"+method.MethodName, &emptypb.Empty{}, &emptypb.Empty{}))
		}
		for _, method := range service.Streams {
			check(method.StreamName, stream(authorized, conn, &method, "/"+service.ServiceName+"/"+method.StreamName))
		}
	}
	for _, name := range []string{"QueuePut", "FunctionCreate", "ClassCreate", "DictGet"} {
		assert.True(t, missing[name], name)
	}
	for _, name := range []string{"SandboxCreate", "SandboxCreateV2", "TaskExecStart", "TaskSnapshotFilesystem"} {
		assert.False(t, missing[name], name)
	}
}

// stream makes a streaming call with an empty message and reads it to its end.
func stream(ctx context.Context, conn *grpc.ClientConn, method *grpc.StreamDesc, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := conn.NewStream(ctx, method, name)
	if err != nil {
		return err
	}
	if err := errors.Join(call.SendMsg(&emptypb.Empty{}), call.CloseSend()); err != nil {
		return err
	}
	for {
		if err := call.RecvMsg(&emptypb.Empty{}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// What newer clients ask of a volume is refused, not left out.
func TestUnknownFieldsOfAMountAreRefused(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	volume, err := client.Volumes.FromName(t.Context(), "data", &modal.VolumeFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	mount := pb.VolumeMount_builder{VolumeId: volume.VolumeID, MountPath: "/data"}.Build()
	mount.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 5, protowire.BytesType), "/below"))
	control, _ := stubs(t, server)
	_, err = control.SandboxCreate(t.Context(), pb.SandboxCreateRequest_builder{
		AppId: app.AppID, Definition: pb.Sandbox_builder{VolumeMounts: []*pb.VolumeMount{mount}}.Build(),
	}.Build())
	assert.Equal(t, codes.Unimplemented, status.Code(err))
	assert.ErrorContains(t, err, "field 5 of VolumeMount")
}
