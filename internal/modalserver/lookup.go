package modalserver

import (
	"context"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lookupService has the one question that Modal's protocol lacks: whether a
// layer is built, without building it. It stands beside Modal's services under
// a name of its own, so that Modal itself could only refuse it.
func lookupService() *grpc.ServiceDesc {
	const name = "seer.Images"
	return &grpc.ServiceDesc{
		ServiceName: name,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary(name, "ImageLookup", (*Server).imageLookup)},
	}
}

func (s *Server) imageLookup(ctx context.Context, r *pb.ImageGetOrCreateRequest) (*pb.ImageGetOrCreateResponse, error) {
	layer, err := s.planLayer(r)
	if err != nil {
		return nil, err
	}
	image, err := s.cached(ctx, layer.key)
	if err != nil {
		return nil, err
	}
	if image == "" {
		return nil, status.Error(codes.NotFound, "the layer is not built")
	}
	return pb.ImageGetOrCreateResponse_builder{ImageId: image, Result: success(), Metadata: imageMetadata()}.Build(), nil
}
