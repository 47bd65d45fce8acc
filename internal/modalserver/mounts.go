package modalserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/newer"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// maxMounted is how many bytes of local files the server holds.
const maxMounted = 1 << 30

// mountBook holds the local files that clients put in images and sandboxes:
// their content by its hash, and the mounts that name them.
type mountBook struct {
	mu      sync.Mutex
	content map[string][]byte // by SHA-256 in hexadecimal
	size    int
	mounts  map[string][]*pb.MountFile
}

func newMountBook() *mountBook {
	return &mountBook{content: map[string][]byte{}, mounts: map[string][]*pb.MountFile{}}
}

// MountPutFile takes a file's content, or tells whether it is there.
func (s *Server) MountPutFile(_ context.Context, r *pb.MountPutFileRequest) (*pb.MountPutFileResponse, error) {
	data := r.GetData()
	if r.HasDataBlobId() {
		var err error
		if data, err = s.blobs.take(r.GetDataBlobId()); err != nil {
			return nil, err
		}
	}
	b := s.mounts
	b.mu.Lock()
	defer b.mu.Unlock()
	_, exists := b.content[r.GetSha256Hex()]
	if !exists && (r.HasData() || r.HasDataBlobId()) {
		sum := sha256.Sum256(data)
		if hex.EncodeToString(sum[:]) != r.GetSha256Hex() {
			return nil, invalid("file content does not have the hash %q", r.GetSha256Hex())
		}
		if b.size+len(data) > maxMounted {
			return nil, status.Errorf(codes.ResourceExhausted, "local files over %d bytes in all", maxMounted)
		}
		b.content[r.GetSha256Hex()] = data
		b.size += len(data)
		exists = true
	}
	return pb.MountPutFileResponse_builder{Exists: exists}.Build(), nil
}

// mountBatchedCheckExistence tells which files have yet to be put.
func (s *Server) mountBatchedCheckExistence(_ context.Context, r *newer.MountBatchedCheckExistenceRequest) (*newer.MountBatchedCheckExistenceResponse, error) {
	b := s.mounts
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := &newer.MountBatchedCheckExistenceResponse{}
	for _, sum := range r.GetSha256HexHashes() {
		if _, ok := b.content[sum]; !ok {
			answer.MissingSha256HexHashes = append(answer.MissingSha256HexHashes, sum)
		}
	}
	return answer, nil
}

// MountGetOrCreate names a set of files whose content has been put.
func (s *Server) MountGetOrCreate(_ context.Context, r *pb.MountGetOrCreateRequest) (*pb.MountGetOrCreateResponse, error) {
	if r.GetDeploymentName() != "" && len(r.GetFiles()) == 0 {
		return nil, status.Errorf(codes.NotFound, "mount '%s' not found", r.GetDeploymentName())
	}
	b := s.mounts
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, file := range r.GetFiles() {
		if _, ok := b.content[file.GetSha256Hex()]; !ok {
			return nil, status.Errorf(codes.FailedPrecondition, "content of '%s' has not been put", file.GetFilename())
		}
	}
	id := newID("mo-")
	b.mounts[id] = r.GetFiles()
	files, err := b.filesLocked(id)
	if err != nil {
		return nil, err
	}
	return pb.MountGetOrCreateResponse_builder{
		MountId:        id,
		HandleMetadata: pb.MountHandleMetadata_builder{ContentChecksumSha256Hex: digestOf(files)}.Build(),
	}.Build(), nil
}

func (b *mountBook) files(id string) ([]contextFile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.filesLocked(id)
}

func (b *mountBook) filesLocked(id string) ([]contextFile, error) {
	mounted, ok := b.mounts[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "mount %s not found", id)
	}
	files := make([]contextFile, len(mounted))
	for i, file := range mounted {
		files[i] = contextFile{
			path: volumePath(file.GetFilename()),
			data: b.content[file.GetSha256Hex()],
			mode: fs.FileMode(file.GetMode()).Perm(),
		}
	}
	return files, nil
}

// place writes the files of mounts into a sandbox.
func place(ctx context.Context, inside runtime.Files, files []contextFile) error {
	for _, file := range files {
		target := "/" + file.path
		if err := inside.Mkdir(ctx, path.Dir(target), true); err != nil {
			return fmt.Errorf("place local file: %w", err)
		}
		mode := file.mode
		if mode == 0 {
			mode = newFileMode
		}
		f, err := inside.OpenFile(ctx, target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
		if err != nil {
			return fmt.Errorf("place local file: %w", err)
		}
		_, err = f.Write(file.data)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("place local file %s: %w", target, err)
		}
	}
	return nil
}
