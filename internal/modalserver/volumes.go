package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	maxVolumeName = 63
	volumeRead    = 16 << 20 // bytes of a file in one answer
	entriesAtOnce = 500
	// ephemeralVolumeLife is how long a volume without a name outlives its last
	// heartbeat. Clients send one every five minutes.
	ephemeralVolumeLife = 15 * time.Minute
)

// VolumeGetOrCreate finds a volume by name or makes one.
func (s *Server) VolumeGetOrCreate(ctx context.Context, r *pb.VolumeGetOrCreateRequest) (*pb.VolumeGetOrCreateResponse, error) {
	fresh := named{
		ID:          newID("vo-"),
		Environment: environmentOr(r.GetEnvironmentName()),
		Name:        r.GetDeploymentName(),
		Created:     time.Now(),
		Version:     int32(r.GetVersion()),
	}
	if fresh.Version == 0 {
		fresh.Version = int32(pb.VolumeFsVersion_VOLUME_FS_VERSION_V1)
	}
	if r.GetObjectCreationType() == pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL {
		fresh.Name = ""
		if err := s.runtime.CreateVolume(ctx, fresh.ID); err != nil {
			return nil, failure("create volume", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ephemeral[fresh.ID] = fresh.Created
		return volumeAnswer(fresh), nil
	}
	if err := checkName("volume", fresh.Name); err != nil {
		return nil, err
	}
	if len(fresh.Name) > maxVolumeName {
		return nil, invalid("volume name %q is longer than %d characters", fresh.Name, maxVolumeName)
	}
	owner, err := s.lookUp(kindVolume, fresh, r.GetObjectCreationType())
	if err != nil {
		return nil, err
	}
	if err := s.names.index(kindVolumeID, owner); err != nil {
		return nil, failure("keep volume", err)
	}
	if err := s.runtime.CreateVolume(ctx, owner.ID); err != nil {
		return nil, failure("create volume", err)
	}
	return volumeAnswer(owner), nil
}

func volumeAnswer(v named) *pb.VolumeGetOrCreateResponse {
	version := pb.VolumeFsVersion(v.Version)
	return pb.VolumeGetOrCreateResponse_builder{
		VolumeId: v.ID,
		Version:  version,
		Metadata: pb.VolumeMetadata_builder{Name: v.Name, Version: version}.Build(),
	}.Build()
}

// findVolume finds a volume by ID. One that lives on heartbeats has no name.
func (s *Server) findVolume(id string) (named, error) {
	s.mu.Lock()
	_, ephemeral := s.ephemeral[id]
	s.mu.Unlock()
	if ephemeral {
		return named{ID: id}, nil
	}
	volume, err := load[named](s.names, kindVolumeID, id)
	if err != nil {
		return named{}, failure("find volume "+id, err)
	}
	return volume, nil
}

// VolumeHeartbeat keeps a volume without a name alive.
func (s *Server) VolumeHeartbeat(_ context.Context, r *pb.VolumeHeartbeatRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ephemeral[r.GetVolumeId()]; !ok {
		return nil, status.Errorf(codes.NotFound, "volume %s not found", r.GetVolumeId())
	}
	s.ephemeral[r.GetVolumeId()] = time.Now()
	return &emptypb.Empty{}, nil
}

// VolumeDelete deletes a volume and its files.
func (s *Server) VolumeDelete(ctx context.Context, r *pb.VolumeDeleteRequest) (*emptypb.Empty, error) {
	volume, err := s.findVolume(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.ephemeral, volume.ID)
	s.mu.Unlock()
	if err := errors.Join(
		s.freeVolumeName(volume),
		s.store.remove(kindVolumeID, volume.ID),
		s.runtime.RemoveVolume(ctx, volume.ID),
	); err != nil {
		return nil, failure("delete volume", err)
	}
	return &emptypb.Empty{}, nil
}

// forgetVolumes deletes those that nobody can ask for any more, as
// forgetSnapshots does.
func (s *Server) forgetVolumes(ctx context.Context) error {
	volumes, err := loadAll[named](s.names, kindVolumeID)
	errs := []error{err}
	for _, volume := range volumes {
		errs = append(errs, s.runtime.RemoveVolume(ctx, volume.ID))
	}
	return errors.Join(errs...)
}

// freeVolumeName gives up a volume's name if it is still the volume's.
func (s *Server) freeVolumeName(volume named) error {
	key := nameKey(volume.Environment, volume.Name)
	owner, err := load[named](s.names, kindVolume, key)
	if errors.Is(err, errNoRecord) || err == nil && owner.ID != volume.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return s.store.remove(kindVolume, key)
}

// VolumeRename gives a volume another name, which must be free.
func (s *Server) VolumeRename(_ context.Context, r *pb.VolumeRenameRequest) (*emptypb.Empty, error) {
	volume, err := s.findVolume(r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := checkName("volume", r.GetName()); err != nil {
		return nil, err
	}
	renamed := volume
	renamed.Name = r.GetName()
	if _, err := s.lookUp(kindVolume, renamed, pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS); err != nil {
		return nil, err
	}
	if err := errors.Join(s.freeVolumeName(volume), save(s.names, kindVolumeID, volume.ID, renamed)); err != nil {
		return nil, failure("rename volume", err)
	}
	return &emptypb.Empty{}, nil
}

// VolumeList lists the named volumes of an environment.
func (s *Server) VolumeList(_ context.Context, r *pb.VolumeListRequest) (*pb.VolumeListResponse, error) {
	environment := environmentOr(r.GetEnvironmentName())
	all, err := loadAll[named](s.names, kindVolume)
	if err != nil {
		return nil, failure("list volumes", err)
	}
	all = slices.DeleteFunc(all, func(v named) bool { return v.Environment != environment })
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	items := make([]*pb.VolumeListItem, len(all))
	for i, v := range all {
		items[i] = pb.VolumeListItem_builder{
			Label:     v.Name,
			VolumeId:  v.ID,
			CreatedAt: seconds(v.Created),
			Metadata:  pb.VolumeMetadata_builder{Name: v.Name, Version: pb.VolumeFsVersion(v.Version)}.Build(),
		}.Build()
	}
	return pb.VolumeListResponse_builder{Items: items, EnvironmentName: environment}.Build(), nil
}

// VolumeCommit has nothing to do: sandboxes share a volume's files as they are.
func (s *Server) VolumeCommit(_ context.Context, r *pb.VolumeCommitRequest) (*pb.VolumeCommitResponse, error) {
	_, err := s.findVolume(r.GetVolumeId())
	return pb.VolumeCommitResponse_builder{SkipReload: true}.Build(), err
}

// VolumeReload has nothing to do, as VolumeCommit.
func (s *Server) VolumeReload(_ context.Context, r *pb.VolumeReloadRequest) (*emptypb.Empty, error) {
	_, err := s.findVolume(r.GetVolumeId())
	return &emptypb.Empty{}, err
}

// volumeMounts checks the mounts of a sandbox.
func (s *Server) volumeMounts(mounts []*pb.VolumeMount) ([]runtime.VolumeMount, error) {
	var specs []runtime.VolumeMount
	for _, m := range mounts {
		target := path.Clean(m.GetMountPath())
		if !path.IsAbs(target) || target == "/" {
			return nil, invalid("volume cannot be mounted at %q: an absolute path below / is needed", m.GetMountPath())
		}
		if slices.ContainsFunc(specs, func(other runtime.VolumeMount) bool { return other.Path == target }) {
			return nil, invalid("two volumes cannot both be mounted at %s", target)
		}
		if _, err := s.findVolume(m.GetVolumeId()); err != nil {
			return nil, err
		}
		specs = append(specs, runtime.VolumeMount{Volume: m.GetVolumeId(), Path: target, ReadOnly: m.GetReadOnly()})
	}
	return specs, nil
}

func (s *Server) volumeFS(ctx context.Context, id string) (fs.FS, error) {
	if _, err := s.findVolume(id); err != nil {
		return nil, err
	}
	files, err := s.runtime.VolumeFS(ctx, id)
	if err != nil {
		return nil, failure("open volume "+id, err)
	}
	return files, nil
}

// volumePath is a client's path as package fs has it.
func volumePath(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p != "" {
		return p
	}
	return "."
}

func volumeFailure(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return status.Errorf(codes.NotFound, "volume file '%s' not found", p)
	}
	return failure(fmt.Sprintf("read volume file '%s'", p), err)
}

// VolumeListFiles lists what is in a directory of a volume, or below it.
func (s *Server) VolumeListFiles(r *pb.VolumeListFilesRequest, stream grpc.ServerStreamingServer[pb.VolumeListFilesResponse]) error {
	return s.listFiles(stream.Context(), r, func(entries []*pb.FileEntry) error {
		return stream.Send(pb.VolumeListFilesResponse_builder{Entries: entries}.Build())
	})
}

// VolumeListFiles2 is VolumeListFiles under the name that it has for version 2 volumes.
func (s *Server) VolumeListFiles2(r *pb.VolumeListFiles2Request, stream grpc.ServerStreamingServer[pb.VolumeListFiles2Response]) error {
	return s.listFiles(stream.Context(), r, func(entries []*pb.FileEntry) error {
		return stream.Send(pb.VolumeListFiles2Response_builder{Entries: entries}.Build())
	})
}

type listRequest interface {
	GetVolumeId() string
	GetPath() string
	GetRecursive() bool
	GetMaxEntries() uint32
}

func (s *Server) listFiles(ctx context.Context, r listRequest, send func([]*pb.FileEntry) error) error {
	files, err := s.volumeFS(ctx, r.GetVolumeId())
	if err != nil {
		return err
	}
	root := volumePath(r.GetPath())
	var batch []*pb.FileEntry
	var count uint32
	err = fs.WalkDir(files, root, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == root && entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		batch = append(batch, fileEntry(p, info))
		if count++; r.GetMaxEntries() > 0 && count == r.GetMaxEntries() {
			return fs.SkipAll
		}
		if len(batch) == entriesAtOnce {
			if err := send(batch); err != nil {
				return err
			}
			batch = nil
		}
		if entry.IsDir() && !r.GetRecursive() {
			return fs.SkipDir
		}
		return ctx.Err()
	})
	if err != nil {
		if _, isStatus := status.FromError(err); isStatus {
			return err
		}
		return volumeFailure(r.GetPath(), err)
	}
	return send(batch)
}

func fileEntry(p string, info fs.FileInfo) *pb.FileEntry {
	entry := pb.FileEntry_builder{Path: p, Mtime: uint64(info.ModTime().Unix()), Type: pb.FileEntry_FILE}
	switch {
	case info.IsDir():
		entry.Type = pb.FileEntry_DIRECTORY
	case info.Mode()&fs.ModeSymlink != 0:
		entry.Type = pb.FileEntry_SYMLINK
	case info.Mode()&fs.ModeNamedPipe != 0:
		entry.Type = pb.FileEntry_FIFO
	case info.Mode()&fs.ModeSocket != 0:
		entry.Type = pb.FileEntry_SOCKET
	default:
		entry.Size = uint64(info.Size())
	}
	return entry.Build()
}

// VolumeGetFile returns a file of a volume, or the part of it that fits in one answer.
func (s *Server) VolumeGetFile(ctx context.Context, r *pb.VolumeGetFileRequest) (*pb.VolumeGetFileResponse, error) {
	files, err := s.volumeFS(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	file, err := files.Open(volumePath(r.GetPath()))
	if err != nil {
		return nil, volumeFailure(r.GetPath(), err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, volumeFailure(r.GetPath(), err)
	}
	if !info.Mode().IsRegular() {
		return nil, invalid("volume file '%s' is not a regular file", r.GetPath())
	}
	if _, err := io.CopyN(io.Discard, file, int64(r.GetStart())); err != nil && !errors.Is(err, io.EOF) {
		return nil, volumeFailure(r.GetPath(), err)
	}
	limit := int64(volumeRead)
	if r.GetLen() > 0 {
		limit = int64(min(r.GetLen(), volumeRead))
	}
	data, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil, volumeFailure(r.GetPath(), err)
	}
	return pb.VolumeGetFileResponse_builder{
		Data:  data,
		Size:  uint64(info.Size()),
		Start: r.GetStart(),
		Len:   uint64(len(data)),
	}.Build(), nil
}
