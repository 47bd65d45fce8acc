package modalserver

import (
	"context"
	"errors"
	"io"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/newer"
)

// sandboxCreateV2 is SandboxCreate with the tags and the variables in it.
func (s *Server) sandboxCreateV2(ctx context.Context, r *newer.SandboxCreateV2Request) (*newer.SandboxCreateV2Response, error) {
	definition := &pb.Sandbox{}
	if err := proto.Unmarshal(r.GetDefinition(), definition); err != nil {
		return nil, invalid("sandbox definition: %v", err)
	}
	env, err := s.envSources(r.GetSecretSources())
	if err != nil {
		return nil, err
	}
	env = append([]map[string]string{r.GetEphemeralSecrets().GetContents()}, env...)
	sb, err := s.create(ctx, creation{appID: r.GetAppId(), definition: definition, env: env, tags: r.GetTags()})
	if err != nil {
		return nil, err
	}
	token, err := s.auth.sign(forRouter, sb.taskID)
	if err != nil {
		return nil, failure("sign router token", err)
	}
	return &newer.SandboxCreateV2Response{
		SandboxId:           sb.id,
		TaskId:              sb.taskID,
		CommandRouterAccess: &newer.CommandRouterAccess{Jwt: token, Url: s.routerURL()},
	}, nil
}

// envSources looks up the variables of each source, in order.
func (s *Server) envSources(sources []*newer.SecretSource) ([]map[string]string, error) {
	env := make([]map[string]string, len(sources))
	for i, source := range sources {
		if id := source.GetSecretId(); id != "" {
			secret, err := s.findSecret(id)
			if err != nil {
				return nil, err
			}
			env[i] = secret.Values
			continue
		}
		env[i] = source.GetEnv().GetContents()
	}
	return env, nil
}

func (s *Server) sandboxGetCommandRouterAccess(ctx context.Context, r *newer.SandboxGetCommandRouterAccessRequest) (*newer.SandboxGetCommandRouterAccessResponse, error) {
	task := r.GetTaskId()
	if id := r.GetSandboxId(); id != "" {
		sb, err := s.find(id)
		if err != nil {
			return nil, err
		}
		task = sb.taskID
	}
	access, err := s.TaskGetCommandRouterAccess(ctx, pb.TaskGetCommandRouterAccessRequest_builder{TaskId: task}.Build())
	if err != nil {
		return nil, err
	}
	return &newer.SandboxGetCommandRouterAccessResponse{Jwt: access.GetJwt(), Url: access.GetUrl()}, nil
}

// sandboxStdinWriteV2 passes input to the sandbox's own command by byte offset.
func (s *Server) sandboxStdinWriteV2(ctx context.Context, r *newer.SandboxStdinWriteV2Request) (*newer.SandboxStdinWriteV2Response, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := sb.alive(); err != nil {
		return nil, err
	}
	if err := sb.stdin.writeAt(ctx, r.GetOffset(), r.GetData(), r.GetEof()); err != nil {
		return nil, err
	}
	return &newer.SandboxStdinWriteV2Response{}, nil
}

// stdioReadV2 streams what the sandbox's own command writes, from any byte on.
func stdioReadV2(srv any, stream grpc.ServerStream) error {
	r := &newer.SandboxStdioReadV2Request{}
	if err := stream.RecvMsg(r); err != nil {
		return err
	}
	return srv.(*Server).sandboxStdioReadV2(r, stream) //nolint:errcheck // What is registered.
}

func (s *Server) sandboxStdioReadV2(r *newer.SandboxStdioReadV2Request, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return err
	}
	output := sb.stdout
	if r.GetFileDescriptor() == newer.SandboxStdioFileDescriptor_SANDBOX_STDIO_FILE_DESCRIPTOR_STDERR {
		output = sb.stderr
	}
	offset := int64(r.GetOffset())
	buffer := make([]byte, chunkSize)
	for {
		n, next, err := output.read(ctx, buffer, offset)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && s.ctx.Err() != nil:
			return errClosing()
		case err != nil:
			return sb.answer("read output of sandbox", err)
		}
		if err := stream.SendMsg(&newer.SandboxStdioReadV2Response{Data: buffer[:n], StartingOffset: uint64(next - int64(n))}); err != nil {
			return err
		}
		offset = next
	}
}

// taskReloadVolumes has nothing to do: sandboxes share a volume's files as they are.
func (s *Server) taskReloadVolumes(_ context.Context, r *newer.TaskReloadVolumesRequest) (*newer.TaskReloadVolumesResponse, error) {
	if _, err := s.findTask(r.GetTaskId()); err != nil {
		return nil, err
	}
	return &newer.TaskReloadVolumesResponse{}, nil
}

// taskSnapshotFilesystem stores a sandbox's file system as an image.
func (s *Server) taskSnapshotFilesystem(ctx context.Context, r *newer.TaskSnapshotFilesystemRequest) (*newer.TaskSnapshotFilesystemResponse, error) {
	if len(r.GetCustomerSuppliedEncryptionKey()) > 0 {
		return nil, status.Error(codes.Unimplemented, "TaskSnapshotFilesystem: encryption keys not implemented")
	}
	if r.GetContainerId() != "" {
		return nil, errSidecar("TaskSnapshotFilesystem")
	}
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := sb.alive(); err != nil {
		return nil, err
	}
	image, err := sb.run.Snapshot(ctx)
	if err != nil {
		return nil, sb.answer("snapshot sandbox", err)
	}
	id, err := s.keepSnapshot(image)
	if err != nil {
		return nil, err
	}
	return &newer.TaskSnapshotFilesystemResponse{ImageId: id}, nil
}

// errSidecar answers what is for another container than the sandbox's own.
func errSidecar(call string) error {
	return status.Errorf(codes.Unimplemented, "%s: sidecar containers not implemented", call)
}
