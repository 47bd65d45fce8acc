package modalserver

import (
	"context"
	"crypto/md5" // what clients compare an upload with
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/crowd"
)

const (
	blobPath  = "/blobs/"
	blobToken = "token"
)

// blobBook holds what is too large for a message: clients upload it over HTTP,
// to a URL that is good for the one blob.
type blobBook struct {
	mu       sync.Mutex
	url      string           // of the HTTP server; "" = not needed yet
	server   *http.Server     // nil = not needed yet
	clients  *crowd.Crowd     // of server
	expected map[string]int64 // size by ID, until it is uploaded
	content  map[string][]byte
	size     int64 // of all of them, expected ones too
}

func newBlobBook() *blobBook {
	return &blobBook{expected: map[string]int64{}, content: map[string][]byte{}}
}

// BlobCreate hands out a URL to upload a blob to.
func (s *Server) BlobCreate(_ context.Context, r *pb.BlobCreateRequest) (*pb.BlobCreateResponse, error) {
	if r.GetContentLength() < 0 {
		return nil, invalid("blob has a length of %d", r.GetContentLength())
	}
	b := s.blobs
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+r.GetContentLength() > maxMounted {
		return nil, status.Errorf(codes.ResourceExhausted, "blobs over %d bytes in all", maxMounted)
	}
	if err := s.serveBlobsLocked(); err != nil {
		return nil, err
	}
	id := newID("bl-")
	token, err := s.auth.sign(forBlob, id)
	if err != nil {
		return nil, failure("sign blob token", err)
	}
	b.expected[id] = r.GetContentLength()
	b.size += r.GetContentLength()
	url := b.url + id + "?" + blobToken + "=" + token
	return pb.BlobCreateResponse_builder{
		BlobId: id, UploadUrl: &url, // the one and its plural: clients of different ages
		BlobIds: []string{id}, UploadUrls: pb.UploadUrlList_builder{Items: []string{url}}.Build(),
	}.Build(), nil
}

// serveBlobsLocked starts the HTTP server unless it runs.
func (s *Server) serveBlobsLocked() error {
	b := s.blobs
	if b.server != nil {
		return nil
	}
	listener, err := s.listenBeside()
	if err != nil {
		return failure("serve blobs", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+blobPath+"{id}", s.putBlob)
	server := crowd.HTTPServer(mux)
	b.clients = crowd.New(crowd.Fitting(crowd.MaxStrangers, 8), crowd.Fitting(crowd.MaxStrangers, 8), nil)
	listener = crowd.Listen(s.ctx, listener, b.clients)
	if !s.begin(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.WarnContext(s.ctx, "blob server stopped", "error", err)
		}
	}) {
		_ = listener.Close()
		return errClosing()
	}
	context.AfterFunc(s.ctx, func() { _ = server.Close() })
	b.server, b.url = server, "http://"+listener.Addr().String()+blobPath
	return nil
}

// putBlob takes a blob's content, once.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	holder, err := s.auth.verify(forBlob, r.URL.Query().Get(blobToken))
	if err != nil || holder != id {
		http.Error(w, "a valid token is needed", http.StatusUnauthorized)
		return
	}
	b := s.blobs
	b.clients.Know(r.RemoteAddr)
	b.mu.Lock()
	size, known := b.expected[id]
	b.mu.Unlock()
	if !known {
		http.Error(w, "the blob is there already, or was used", http.StatusConflict)
		return
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, size+1))
	if err != nil || int64(len(data)) != size {
		http.Error(w, "the blob does not have the size that was announced", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	delete(b.expected, id)
	b.content[id] = data
	b.mu.Unlock()
	sum := md5.Sum(data)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
}

// take returns a blob and forgets it: each is used once.
func (b *blobBook) take(id string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.content[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "blob %s not found", strings.ToValidUTF8(id, "?"))
	}
	delete(b.content, id)
	b.size -= int64(len(data))
	return data, nil
}
