// Package hubtest is a HuggingFace hub on loopback for tests, in the manner of
// net/http/httptest. It speaks as much of the real hub's protocol as reading
// models takes, so that Python's huggingface_hub works with it unchanged
// (HF_ENDPOINT): model descriptions, trees, file resolution with redirects of
// large files to a second host, ranges, and the error codes that clients tell
// apart. Faults are injected per request, and every request is recorded.
package hubtest

import (
	"crypto/sha1" //nolint:gosec // git's object ids are SHA-1
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Server is a hub. Its methods may be used from several goroutines.
type Server struct {
	URL    string // base URL of the hub: the HF_ENDPOINT
	CDNURL string // base URL of the host that large files are redirected to

	hub, cdn *httptest.Server
	closing  chan struct{}

	mu        sync.Mutex
	models    map[string]*model
	tokens    map[string][]string // token -> models it may see
	renamed   map[string]string   // old ID -> present one
	contents  map[string][]byte   // large files and small ones, by their SHA-256
	faults    []*Fault
	requests  []*Request
	served    int64
	onServe   func(total int64)
	onRequest func(Request)
	options   Options
}

// Options are ways in which hubs and mirrors differ.
type Options struct {
	PageSize       int  // entries per page of a tree; 0 = all on one page
	NoRanges       bool // files come whole, whatever part is asked for
	Xet            bool // large files are offered by the hub's own protocol too, whose token is refused
	BytesPerSecond int  // that one connection gives of large files; 0 = as fast as it goes
	NoBlobs        bool // model descriptions lack sizes and hashes, as those of some mirrors do
}

// Model is a repository as a test describes it.
type Model struct {
	ID      string
	Files   map[string][]byte // path -> content
	Gated   string            // "auto" or "manual"; "" = not gated
	Private bool
}

// file is a file with its hashes, which are asked for more often than it changes.
type file struct {
	data      []byte
	sum, blob string // SHA-256, and git's object id
}

type model struct {
	Model
	commits map[string]map[string]file // commit -> files by path
	refs    map[string]string          // branch or tag -> commit
}

// Request is one request that the server answered.
type Request struct {
	Method        string
	CDN           bool // answered by the second host
	Path          string
	Authorization string
	Range         string
	UserAgent     string
	Status        int   // 0 while the answer is under way
	Bytes         int64 // of the body, as sent so far
}

// NewServer starts a hub that ends with the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	s := Start()
	tb.Cleanup(s.Close)
	return s
}

// Start starts a hub that runs until Close.
func Start() *Server {
	s := &Server{closing: make(chan struct{}), models: map[string]*model{}, tokens: map[string][]string{}, renamed: map[string]string{}, contents: map[string][]byte{}}
	s.hub = httptest.NewServer(s.record(false, s.serveHub))
	s.cdn = httptest.NewServer(s.record(true, s.serveCDN))
	s.URL, s.CDNURL = s.hub.URL, s.cdn.URL
	return s
}

// Close ends the hub and whatever it is still answering.
func (s *Server) Close() {
	close(s.closing)
	for _, server := range []*httptest.Server{s.hub, s.cdn} {
		server.CloseClientConnections()
		server.Close()
	}
}

// SetOptions changes how the server behaves from the next request on.
func (s *Server) SetOptions(options Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
}

// Add puts a model on the hub and returns the commit that its branch main
// points to. Adding it again moves main and keeps the older commits.
func (s *Server) Add(m Model) (commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, ok := s.models[m.ID]
	if !ok {
		had = &model{commits: map[string]map[string]file{}, refs: map[string]string{}}
		s.models[m.ID] = had
	}
	had.Model = m
	h := sha1.New() //nolint:gosec // as above
	files := make(map[string]file, len(m.Files))
	for _, path := range sortedKeys(m.Files) {
		f := file{m.Files[path], sha256Hex(m.Files[path]), gitBlob(m.Files[path])}
		fmt.Fprintf(h, "%s %s\n", path, f.sum)
		files[path], s.contents[f.sum] = f, f.data
	}
	commit = hex.EncodeToString(h.Sum(nil))
	had.commits[commit] = files
	had.refs["main"] = commit
	return commit
}

// Rename makes a former ID of a model lead to the present one, as the hub does.
func (s *Server) Rename(former, present string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renamed[former] = present
}

// Tag makes a name (a branch or a tag) stand for a commit of a model.
func (s *Server) Tag(id, name, commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.models[id].refs[name] = commit
}

// AddToken makes a token valid and lets it see the given private and gated
// models.
func (s *Server) AddToken(token string, models ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = models
}

// OnServe has f called with the number of bytes of file content served so far,
// each time before more of them are sent.
func (s *Server) OnServe(f func(total int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onServe = f
}

// OnRequest has f called with each request before it is answered, from several
// goroutines.
func (s *Server) OnRequest(f func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRequest = f
}

// Served is the number of bytes of file content sent so far.
func (s *Server) Served() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// Requests returns a copy of what was asked so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Request, len(s.requests))
	for i, r := range s.requests {
		out[i] = *r
	}
	return out
}

// Count is the number of requests whose path contains part.
func (s *Server) Count(part string) int {
	n := 0
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, part) {
			n++
		}
	}
	return n
}

// record notes each request and lets faults have their way before handle.
func (s *Server) record(cdn bool, handle http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := &Request{
			Method: r.Method, CDN: cdn, Path: r.URL.EscapedPath(), Range: r.Header.Get("Range"),
			Authorization: r.Header.Get("Authorization"), UserAgent: r.UserAgent(),
		}
		s.mu.Lock()
		s.requests = append(s.requests, entry)
		fault, onRequest := s.takeFault(r), s.onRequest
		s.mu.Unlock()
		if onRequest != nil {
			onRequest(*entry)
		}
		out := &writer{ResponseWriter: w, server: s, request: r, entry: entry, fault: fault}
		if fault.Status != 0 {
			for name, values := range fault.Header {
				w.Header()[name] = values
			}
			http.Error(out, http.StatusText(fault.Status), fault.Status)
			return
		}
		handle(out, r)
	})
}

func gitBlob(data []byte) string {
	h := sha1.New() //nolint:gosec // as above
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// isLarge reports whether the hub keeps a file in large file storage.
func isLarge(path string, data []byte) bool {
	for _, suffix := range []string{".safetensors", ".bin", ".gguf", ".pt", ".pth", ".h5", ".onnx", ".msgpack", ".model", "tokenizer.json"} {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return len(data) > 10<<20
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
