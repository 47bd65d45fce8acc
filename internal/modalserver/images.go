package modalserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// buildMemory is how long the log of a build that has ended can be read.
const buildMemory = 10 * time.Minute

// buildBook holds the builds that run and those that ended lately.
type buildBook struct {
	mu    sync.Mutex
	byID  map[string]*build
	byKey map[string]*build // running ones only
}

func newBuildBook() *buildBook {
	return &buildBook{byID: map[string]*build{}, byKey: map[string]*build{}}
}

func (b *buildBook) get(imageID string) (*build, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found, ok := b.byID[imageID]
	return found, ok
}

func (b *buildBook) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.byID, func(_ string, one *build) bool {
		return one.finished() && now.Sub(one.ended) > buildMemory
	})
}

// build is the making of one layer.
type build struct {
	imageID string
	key     string
	log     *buildLog
	done    chan struct{} // closed when the fields below are final
	result  *pb.GenericResult
	ended   time.Time
}

func (b *build) finished() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// ImageGetOrCreate returns the image of a layer, whose build it starts if need
// be. The answer has a result only when the image is ready.
func (s *Server) ImageGetOrCreate(ctx context.Context, r *pb.ImageGetOrCreateRequest) (*pb.ImageGetOrCreateResponse, error) {
	layer, err := s.planLayer(r)
	if err != nil {
		return nil, err
	}
	s.builds.mu.Lock()
	defer s.builds.mu.Unlock()
	if !r.GetForceBuild() && !r.GetIgnoreCache() {
		if running, ok := s.builds.byKey[layer.key]; ok {
			return pb.ImageGetOrCreateResponse_builder{ImageId: running.imageID}.Build(), nil
		}
		image, err := s.cached(ctx, layer.key)
		if err != nil {
			return nil, err
		}
		if image != "" {
			return pb.ImageGetOrCreateResponse_builder{ImageId: image, Result: success(), Metadata: imageMetadata()}.Build(), nil
		}
	}
	b := &build{imageID: newID("im-"), key: layer.key, log: newBuildLog(), done: make(chan struct{})}
	s.builds.byID[b.imageID] = b
	s.builds.byKey[layer.key] = b
	if !s.begin(func() { s.build(b, layer) }) {
		return nil, errClosing()
	}
	return pb.ImageGetOrCreateResponse_builder{ImageId: b.imageID}.Build(), nil
}

func imageMetadata() *pb.ImageMetadata {
	version := builderVersion
	return pb.ImageMetadata_builder{ImageBuilderVersion: &version}.Build()
}

// cached returns the image that a layer was built to, or "" when there is none
// or the runtime no longer has it.
func (s *Server) cached(ctx context.Context, key string) (string, error) {
	id, err := load[string](s.images, kindLayer, key)
	if errors.Is(err, errNoRecord) {
		return "", nil
	}
	if err != nil {
		return "", failure("look up image", err)
	}
	_, err = s.finishedImage(ctx, id)
	if status.Code(err) == codes.NotFound {
		return "", nil
	}
	return id, err
}

// build makes a layer and records what came of it.
func (s *Server) build(b *build, layer *layer) {
	image, err := s.makeLayer(s.ctx, b.log, layer)
	if err == nil {
		err = errors.Join(
			save(s.images, kindImage, b.imageID, builtImage{ID: b.imageID, Runtime: image.ID, Layer: b.key}),
			save(s.images, kindLayer, b.key, b.imageID),
		)
	}
	result := success()
	switch {
	case err != nil && s.ctx.Err() != nil:
		result = pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_TERMINATED, Exception: "the server is closing"}.Build()
	case err != nil:
		s.log.WarnContext(s.ctx, "image build failed", "image", b.imageID, "error", err)
		exception := err.Error()
		if tail := b.log.tail(); tail != "" {
			exception += "\n" + tail
		}
		result = pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_FAILURE, Exception: exception}.Build()
	}
	s.builds.mu.Lock()
	if s.builds.byKey[b.key] == b {
		delete(s.builds.byKey, b.key)
	}
	s.builds.mu.Unlock()
	b.result, b.ended = result, time.Now()
	close(b.done)
	b.log.end()
}

// ImageJoinStreaming streams the log of a build from an entry on, then its result.
func (s *Server) ImageJoinStreaming(r *pb.ImageJoinStreamingRequest, stream grpc.ServerStreamingServer[pb.ImageJoinStreamingResponse]) error {
	b, ok := s.builds.get(r.GetImageId())
	if !ok {
		if _, err := s.findImage(r.GetImageId()); err != nil {
			return err
		}
		return stream.Send(pb.ImageJoinStreamingResponse_builder{Result: success(), Metadata: imageMetadata(), Eof: true}.Build())
	}
	next, err := entryOffset(r.GetLastEntryId())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(stream.Context(), duration(r.GetTimeout()))
	defer cancel()
	for {
		lines, after, more := b.log.read(ctx, next)
		if len(lines) > 0 {
			next = after
			entries := make([]*pb.TaskLogs, len(lines))
			for i, line := range lines {
				entries[i] = pb.TaskLogs_builder{
					Data:           line,
					FileDescriptor: pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT,
					Timestamp:      seconds(time.Now()),
				}.Build()
			}
			if err := stream.Send(pb.ImageJoinStreamingResponse_builder{TaskLogs: entries, EntryId: entryID(next)}.Build()); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		if ctx.Err() != nil {
			return nil // the client asks again
		}
	}
	answer := pb.ImageJoinStreamingResponse_builder{Result: b.result, EntryId: entryID(next), Eof: true}
	if b.result.GetStatus() == pb.GenericResult_GENERIC_STATUS_SUCCESS {
		answer.Metadata = imageMetadata()
	}
	return stream.Send(answer.Build())
}

func (s *Server) findImage(id string) (builtImage, error) {
	image, err := load[builtImage](s.images, kindImage, id)
	if err != nil {
		return builtImage{}, failure("find image "+id, err)
	}
	return image, nil
}

// runtimeImage returns what the runtime knows an image as.
func (s *Server) runtimeImage(ctx context.Context, id string) (runtime.Image, error) {
	if b, ok := s.builds.get(id); ok && !b.finished() {
		return runtime.Image{}, status.Errorf(codes.FailedPrecondition, "image %s is still being built", id)
	}
	return s.finishedImage(ctx, id)
}

// finishedImage finds an image that is recorded. One that the runtime no longer
// has is not found.
func (s *Server) finishedImage(ctx context.Context, id string) (runtime.Image, error) {
	record, err := s.findImage(id)
	if err != nil {
		return runtime.Image{}, err
	}
	image, err := s.runtime.Image(ctx, record.Runtime)
	if errors.Is(err, runtime.ErrNotFound) {
		return runtime.Image{}, status.Errorf(codes.NotFound, "image %s is no longer there: %v", id, err)
	}
	if err != nil {
		return runtime.Image{}, failure("find image "+id, err)
	}
	return image, nil
}

// ImageFromId tells whether an image exists.
func (s *Server) ImageFromId(ctx context.Context, r *pb.ImageFromIdRequest) (*pb.ImageFromIdResponse, error) { //nolint:staticcheck // The protocol's name.
	if _, err := s.runtimeImage(ctx, r.GetImageId()); err != nil {
		return nil, err
	}
	return pb.ImageFromIdResponse_builder{ImageId: r.GetImageId(), Metadata: imageMetadata()}.Build(), nil
}

// ImageDelete deletes an image. A layer that led to it is built again when it is next asked for.
func (s *Server) ImageDelete(ctx context.Context, r *pb.ImageDeleteRequest) (*emptypb.Empty, error) {
	image, err := s.findImage(r.GetImageId())
	if err != nil {
		return nil, err
	}
	if err := s.deleteImage(ctx, image); err != nil {
		return nil, failure("delete image "+image.ID, err)
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) deleteImage(ctx context.Context, image builtImage) error {
	s.builds.mu.Lock()
	defer s.builds.mu.Unlock()
	if image.Layer != "" {
		led, err := load[string](s.images, kindLayer, image.Layer)
		if err == nil && led == image.ID {
			err = s.images.store.remove(kindLayer, image.Layer)
		}
		if err != nil && !errors.Is(err, errNoRecord) {
			return err
		}
	}
	delete(s.builds.byID, image.ID)
	if err := s.images.store.remove(kindImage, image.ID); err != nil {
		return err
	}
	others, err := loadAll[builtImage](s.images, kindImage)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(others, func(other builtImage) bool { return other.Runtime == image.Runtime }) {
		return nil
	}
	return s.runtime.RemoveImage(ctx, image.Runtime)
}

// keepSnapshot gives an image that no layer led to an ID.
func (s *Server) keepSnapshot(image runtime.Image) (string, error) {
	record := builtImage{ID: newID("im-"), Runtime: image.ID}
	if err := save(s.images, kindImage, record.ID, record); err != nil {
		return "", failure("keep snapshot", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots = append(s.snapshots, record)
	return record.ID, nil
}

// forgetSnapshots deletes those that nobody can ask for any more, because the
// server kept the rest of its records in memory.
func (s *Server) forgetSnapshots(ctx context.Context) error {
	var errs []error
	for _, snapshot := range s.snapshots {
		if _, err := load[builtImage](s.images, kindImage, snapshot.ID); err == nil {
			errs = append(errs, s.deleteImage(ctx, snapshot))
		}
	}
	return errors.Join(errs...)
}

// layerKey identifies a layer by everything that its content comes from. Of
// secrets only the names count: a new value does not build an image anew.
func layerKey(parts ...any) (string, error) {
	data, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("identify layer: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
