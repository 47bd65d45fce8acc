package modalserver

import (
	"context"
	"errors"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// builderVersion is the image builder version that clients are told to ask for.
const builderVersion = "2025.06"

// AuthTokenGet hands out the token that clients send with later calls.
func (s *Server) AuthTokenGet(context.Context, *pb.AuthTokenGetRequest) (*pb.AuthTokenGetResponse, error) {
	token, err := s.auth.sign(forControl, "")
	if err != nil {
		return nil, failure("sign auth token", err)
	}
	return pb.AuthTokenGetResponse_builder{Token: token}.Build(), nil
}

// ClientHello greets a client.
func (s *Server) ClientHello(context.Context, *emptypb.Empty) (*pb.ClientHelloResponse, error) {
	return pb.ClientHelloResponse_builder{ImageBuilderVersion: builderVersion}.Build(), nil
}

// EnvironmentGetOrCreate describes an environment; every one exists.
func (s *Server) EnvironmentGetOrCreate(_ context.Context, r *pb.EnvironmentGetOrCreateRequest) (*pb.EnvironmentGetOrCreateResponse, error) {
	name := environmentOr(r.GetDeploymentName())
	return pb.EnvironmentGetOrCreateResponse_builder{
		EnvironmentId: "en-" + name,
		Metadata: pb.EnvironmentMetadata_builder{
			Name:     name,
			Settings: pb.EnvironmentSettings_builder{ImageBuilderVersion: builderVersion}.Build(),
		}.Build(),
	}.Build(), nil
}

// AppGetOrCreate looks an app up by name and may create it.
func (s *Server) AppGetOrCreate(_ context.Context, r *pb.AppGetOrCreateRequest) (*pb.AppGetOrCreateResponse, error) {
	if err := checkName("app", r.GetAppName()); err != nil {
		return nil, err
	}
	app := named{
		ID:          newID("ap-"),
		Environment: environmentOr(r.GetEnvironmentName()),
		Name:        r.GetAppName(),
		Created:     time.Now(),
	}
	owner, err := s.lookUp(kindApp, app, r.GetObjectCreationType())
	if err != nil {
		return nil, err
	}
	if err := s.names.index(kindAppID, owner); err != nil {
		return nil, failure("keep app", err)
	}
	return pb.AppGetOrCreateResponse_builder{AppId: owner.ID}.Build(), nil
}

// lookUp finds what has a name or, as far as the caller asked for it, gives the
// name to fresh.
func (s *Server) lookUp(k kind, fresh named, how pb.ObjectCreationType) (owner named, err error) {
	what := string(k[:len(k)-1])
	key := nameKey(fresh.Environment, fresh.Name)
	switch how {
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_UNSPECIFIED:
		owner, err = load[named](s.names, k, key)
		if errors.Is(err, errNoRecord) {
			return named{}, status.Errorf(codes.NotFound, "%s '%s' not found in environment '%s'", what, fresh.Name, fresh.Environment)
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
		owner, err = s.names.claim(k, fresh)
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
		owner, err = s.names.claim(k, fresh)
		if err == nil && owner.ID != fresh.ID {
			return named{}, status.Errorf(codes.AlreadyExists, "%s '%s' already exists", what, fresh.Name)
		}
	case pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
		owner, err = fresh, save(s.names, k, key, fresh)
	default:
		return named{}, status.Errorf(codes.InvalidArgument, "%s cannot be created as %s", what, how)
	}
	if err != nil {
		return named{}, failure("look up "+what, err)
	}
	return owner, nil
}

// ProxyGet finds one of the configured proxies.
func (s *Server) ProxyGet(_ context.Context, r *pb.ProxyGetRequest) (*pb.ProxyGetResponse, error) {
	id, ok := s.proxies[r.GetName()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "proxy '%s' not found", r.GetName())
	}
	return pb.ProxyGetResponse_builder{
		Proxy: pb.Proxy_builder{Name: r.GetName(), ProxyId: id, EnvironmentName: environmentOr(r.GetEnvironmentName())}.Build(),
	}.Build(), nil
}

// FunctionGet finds nothing: this server has no deployed functions.
func (s *Server) FunctionGet(_ context.Context, r *pb.FunctionGetRequest) (*pb.FunctionGetResponse, error) {
	return nil, status.Errorf(codes.NotFound, "function '%s' not found in app '%s'", r.GetObjectTag(), r.GetAppName())
}
