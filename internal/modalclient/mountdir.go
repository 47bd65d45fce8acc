package modalclient

import (
	"context"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// MountDir shows the tree of an image that SnapshotDir made at a path of the
// running sandbox, over what is there. Changes to it stay in this sandbox.
func (s *Sandbox) MountDir(ctx context.Context, path, imageID string) error {
	t, err := s.ready(ctx)
	if err != nil {
		return err
	}
	return s.attempts(t, "mount "+imageID+" at "+path).do(ctx, func(ctx context.Context, router pb.TaskCommandRouterClient) error {
		_, err := router.TaskMountDirectory(ctx, pb.TaskMountDirectoryRequest_builder{
			TaskId: t.id, Path: []byte(path), ImageId: imageID,
		}.Build())
		return err
	})
}
