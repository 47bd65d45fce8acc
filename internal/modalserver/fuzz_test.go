package modalserver

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// method is a call of either service, without a connection.
type method struct {
	name    string
	request func() proto.Message
	call    func(ctx context.Context, s *Server, ids map[string]string, body []byte) error
}

// methods lists every call that clients know, in the order of the protocol.
func methods() []method {
	var list []method
	for _, service := range []grpc.ServiceDesc{pb.ModalClient_ServiceDesc, pb.TaskCommandRouter_ServiceDesc} {
		for _, m := range service.Methods {
			handle := func(ctx context.Context, s *Server, decode func(any) error) error {
				_, err := m.Handler(s, ctx, decode, nil)
				return err
			}
			list = append(list, newMethod(m.MethodName, handle))
		}
		for _, m := range service.Streams {
			if m.ClientStreams {
				continue
			}
			handle := func(ctx context.Context, s *Server, decode func(any) error) error {
				return m.Handler(s, &deafStream{ctx: ctx, decode: decode})
			}
			list = append(list, newMethod(m.StreamName, handle))
		}
	}
	return list
}

func newMethod(name string, handle func(ctx context.Context, s *Server, decode func(any) error) error) method {
	return method{
		name: name,
		request: func() (request proto.Message) {
			_ = handle(context.Background(), nil, func(m any) error {
				request, _ = m.(proto.Message)
				return io.EOF
			})
			return request
		},
		call: func(ctx context.Context, s *Server, ids map[string]string, body []byte) error {
			return handle(ctx, s, func(m any) error {
				message, _ := m.(proto.Message)
				if err := proto.Unmarshal(body, message); err != nil {
					return status.Error(codes.InvalidArgument, "not such a message")
				}
				nameReal(message.ProtoReflect(), ids)
				return nil
			})
		},
	}
}

// deafStream is a caller that takes no notice of what it is told.
type deafStream struct {
	grpc.ServerStream
	ctx    context.Context
	decode func(any) error
}

func (d *deafStream) Context() context.Context { return d.ctx }
func (d *deafStream) RecvMsg(m any) error      { return d.decode(m) }
func (d *deafStream) SendMsg(any) error        { return d.ctx.Err() }

// nameReal puts the IDs of what there is, which are others in every run, in
// the place of "sb-" and the like.
func nameReal(m protoreflect.Message, ids map[string]string) {
	named := func(value protoreflect.Value) protoreflect.Value {
		if id, ok := ids[value.String()]; ok {
			return protoreflect.ValueOfString(id)
		}
		return value
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				if field.Message() != nil {
					nameReal(value.List().Get(i).Message(), ids)
				} else if field.Kind() == protoreflect.StringKind {
					value.List().Set(i, named(value.List().Get(i)))
				}
			}
		case field.Message() != nil:
			nameReal(value.Message(), ids)
		case field.Kind() == protoreflect.StringKind:
			m.Set(field, named(value))
		}
		return true
	})
}

// fill sets every field of a message to something, to some depth.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.IsMap() || field.Message() != nil && depth == 0 {
			continue
		}
		value := sample(m, field)
		if field.Message() != nil {
			fill(value.Message(), depth-1)
		}
		if field.IsList() {
			list := m.Mutable(field).List()
			list.Append(value)
			continue
		}
		m.Set(field, value)
	}
}

func sample(m protoreflect.Message, field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if field.IsList() {
			return m.NewField(field).List().NewElement()
		}
		return m.NewField(field)
	case protoreflect.StringKind:
		name := string(field.Name())
		for what, id := range map[string]string{
			"sandbox_id": "sb-", "task_id": "ta-", "app_id": "ap-", "image_id": "im-", "volume_id": "vo-", "secret_id": "st-",
		} {
			if strings.HasPrefix(name, what) {
				return protoreflect.ValueOfString(id)
			}
		}
		return protoreflect.ValueOfString(name)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("/etc"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(0.01)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(0.01)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1)
	default:
		return protoreflect.ValueOfInt32(1)
	}
}

// FuzzRequests sends anything to every call: it must be answered, and with a
// code that no client takes for a passing trouble.
func FuzzRequests(f *testing.F) {
	list := methods()
	for i, m := range list {
		f.Add(uint(i), []byte{})
		request := m.request()
		fill(request.ProtoReflect(), 3)
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
		require.NoError(f, err)
		f.Add(uint(i), body)
	}
	f.Fuzz(func(t *testing.T, index uint, body []byte) {
		server := serve(t, Config{Runtime: scripted.New(nil), Secrets: map[string]map[string]string{"name": {"A": "1"}}})
		ids := furnish(t, server)
		m := list[index%uint(len(list))]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := m.call(ctx, server, ids, body)
		switch code := status.Code(err); code {
		case codes.Unknown, codes.Internal, codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
			require.Error(t, ctx.Err(), "%s answers %v", m.name, err)
		}
	})
}

// furnish makes one of everything that has an ID.
func furnish(t *testing.T, s *Server) (ids map[string]string) {
	t.Helper()
	ctx := t.Context()
	app, err := s.AppGetOrCreate(ctx, pb.AppGetOrCreateRequest_builder{
		AppName: "app", ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
	}.Build())
	require.NoError(t, err)
	image, err := s.ImageGetOrCreate(ctx, pb.ImageGetOrCreateRequest_builder{
		AppId: app.GetAppId(), Image: pb.Image_builder{DockerfileCommands: []string{"FROM base:1"}}.Build(),
	}.Build())
	require.NoError(t, err)
	require.NoError(t, s.ImageJoinStreaming(
		pb.ImageJoinStreamingRequest_builder{ImageId: image.GetImageId(), Timeout: 60}.Build(),
		&grpc.GenericServerStream[pb.ImageJoinStreamingRequest, pb.ImageJoinStreamingResponse]{ServerStream: &deafStream{ctx: ctx}}))
	volume, err := s.VolumeGetOrCreate(ctx, pb.VolumeGetOrCreateRequest_builder{
		ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL,
	}.Build())
	require.NoError(t, err)
	secret, err := s.SecretGetOrCreate(ctx, pb.SecretGetOrCreateRequest_builder{
		ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL, EnvDict: map[string]string{"A": "1"},
	}.Build())
	require.NoError(t, err)
	sandbox, err := s.SandboxCreate(ctx, pb.SandboxCreateRequest_builder{
		AppId: app.GetAppId(), Definition: pb.Sandbox_builder{ImageId: image.GetImageId()}.Build(),
	}.Build())
	require.NoError(t, err)
	task, err := s.SandboxGetTaskId(ctx, pb.SandboxGetTaskIdRequest_builder{SandboxId: sandbox.GetSandboxId()}.Build())
	require.NoError(t, err)
	return map[string]string{
		"ap-": app.GetAppId(), "im-": image.GetImageId(), "vo-": volume.GetVolumeId(), "st-": secret.GetSecretId(),
		"sb-": sandbox.GetSandboxId(), "ta-": task.GetTaskId(),
	}
}
