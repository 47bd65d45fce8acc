package hubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxPointer = 135 // bytes of the pointer file that git holds instead of a large file

func (s *Server) serveHub(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	full := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if present, ok := s.present(full); ok {
		w.Header().Set("Location", "/"+present+"?"+r.URL.RawQuery)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	rest, isAPI := strings.CutPrefix(full, "api/models/")
	switch {
	case isAPI && strings.Contains(rest, "/xet-read-token/"):
		fail(w, http.StatusForbidden, "", "no token for this protocol")
	case isAPI && strings.Contains(rest, "/tree/"):
		id, rev, _ := strings.Cut(rest, "/tree/")
		rev, dir, _ := strings.Cut(rev, "/")
		s.serveTree(w, r, id, rev, dir)
	case isAPI:
		id, rev, ok := strings.Cut(rest, "/revision/")
		if !ok {
			rev = "main"
		}
		s.serveInfo(w, r, id, rev)
	case strings.Contains(full, "/resolve/"):
		id, rev, _ := strings.Cut(full, "/resolve/")
		rev, file, _ := strings.Cut(rev, "/")
		s.serveFile(w, r, id, rev, file)
	default:
		fail(w, http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
}

// present is a path with the former ID of a model replaced.
func (s *Server) present(full string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for former, present := range s.renamed {
		for _, prefix := range []string{"api/models/", ""} {
			if rest, ok := strings.CutPrefix(full, prefix+former); ok && (rest == "" || rest[0] == '/') {
				return prefix + present + rest, true
			}
		}
	}
	return "", false
}

// fail answers as the hub does: clients go by the headers, not by the body.
func fail(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// view is a model at one commit.
type view struct {
	Model
	commit string
	files  map[string]file
}

// refusal is an answer without the thing that was asked for.
type refusal struct {
	status        int
	code, message string
}

// open finds a model at a revision for whoever asks, and answers when it may
// not be seen. content says that file content is asked for, which gated models
// give to the chosen only.
func (s *Server) open(w http.ResponseWriter, r *http.Request, id, rev string, content bool) (view, bool) {
	id, _ = url.PathUnescape(id)
	rev, _ = url.PathUnescape(rev)
	v, no := s.lookup(id, rev, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), content)
	if no != nil {
		fail(w, no.status, no.code, no.message)
	}
	return v, no == nil
}

func (s *Server) lookup(id, rev, token string, content bool) (view, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	grants, known := s.tokens[token]
	m, exists := s.models[id]
	granted := slices.Contains(grants, id)
	switch {
	case token != "" && !known:
		return view{}, &refusal{http.StatusUnauthorized, "", "Invalid credentials in Authorization header"}
	case (!exists || m.Private && !granted) && token == "":
		return view{}, &refusal{http.StatusUnauthorized, "", "Invalid username or password."}
	case !exists, m.Private && !granted:
		return view{}, &refusal{http.StatusNotFound, "RepoNotFound", "Repository not found"}
	case content && m.Gated != "" && token == "":
		return view{}, &refusal{http.StatusUnauthorized, "GatedRepo", "Access to model " + id + " is restricted. You must have access to it and be authenticated to access it. Please log in."}
	case content && m.Gated != "" && !granted:
		return view{}, &refusal{http.StatusForbidden, "GatedRepo", "Access to model " + id + " is restricted and you are not in the authorized list. Visit " + s.URL + "/" + id + " to ask for access."}
	}
	if commit, ok := m.refs[rev]; ok {
		rev = commit
	}
	files, ok := m.commits[rev]
	if !ok {
		return view{}, &refusal{http.StatusNotFound, "RevisionNotFound", "Invalid rev id: " + rev}
	}
	return view{m.Model, rev, files}, nil
}

func (s *Server) serveInfo(w http.ResponseWriter, r *http.Request, id, rev string) {
	m, ok := s.open(w, r, id, rev, false)
	if !ok {
		return
	}
	siblings := []map[string]any{}
	for _, p := range sortedKeys(m.files) {
		f, sibling := m.files[p], map[string]any{"rfilename": p}
		if r.URL.Query().Get("blobs") == "true" && !s.currentOptions().NoBlobs {
			sibling["size"], sibling["blobId"] = len(f.data), f.blob
			if isLarge(p, f.data) {
				sibling["blobId"] = gitBlob([]byte("pointer " + f.sum))
				sibling["lfs"] = map[string]any{"sha256": f.sum, "size": len(f.data), "pointerSize": maxPointer}
			}
		}
		siblings = append(siblings, sibling)
	}
	var gated any = false
	if m.Gated != "" {
		gated = m.Gated
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"_id": m.commit[:24], "id": m.ID, "modelId": m.ID, "sha": m.commit, "private": m.Private, "gated": gated, "disabled": false,
		"siblings": siblings, "tags": []string{}, "downloads": 0, "likes": 0, "lastModified": "2024-08-27T19:41:24.000Z",
	})
}

func (s *Server) serveTree(w http.ResponseWriter, r *http.Request, id, rev, dir string) {
	m, ok := s.open(w, r, id, rev, false)
	if !ok {
		return
	}
	dir, _ = url.PathUnescape(dir)
	recursive := r.URL.Query().Get("recursive") == "true"
	entries, seen := []map[string]any{}, map[string]bool{}
	for _, p := range sortedKeys(m.files) {
		rest := p
		if dir != "" {
			if rest, ok = strings.CutPrefix(p, dir+"/"); !ok {
				continue
			}
		}
		parts := strings.Split(rest, "/")
		for i := 1; i < len(parts) && (recursive || i == 1); i++ {
			parent := path.Join(dir, strings.Join(parts[:i], "/"))
			if !seen[parent] {
				seen[parent] = true
				entries = append(entries, map[string]any{"type": "directory", "path": parent, "size": 0, "oid": gitBlob([]byte(parent))})
			}
		}
		if len(parts) > 1 && !recursive {
			continue
		}
		f := m.files[p]
		entry := map[string]any{"type": "file", "path": p, "size": len(f.data), "oid": f.blob}
		if isLarge(p, f.data) {
			entry["oid"] = gitBlob([]byte("pointer " + f.sum))
			entry["lfs"] = map[string]any{"oid": f.sum, "size": len(f.data), "pointerSize": maxPointer}
		}
		entries = append(entries, entry)
	}
	if size := s.currentOptions().PageSize; size > 0 {
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		from = min(from, len(entries))
		end := min(from+size, len(entries))
		if end < len(entries) {
			query := r.URL.Query()
			query.Set("cursor", strconv.Itoa(end))
			w.Header().Set("Link", fmt.Sprintf("<%s%s?%s>; rel=\"next\"", s.URL, r.URL.EscapedPath(), query.Encode()))
		}
		entries = entries[from:end]
	}
	writeJSON(w, http.StatusOK, entries)
}

// serveFile answers with the content of a small file and with the way to the
// content of a large one.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, id, rev, name string) {
	m, ok := s.open(w, r, id, rev, true)
	if !ok {
		return
	}
	w.Header().Set("X-Repo-Commit", m.commit)
	name, _ = url.PathUnescape(name)
	f, ok := m.files[name]
	if !ok {
		fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	if !isLarge(name, f.data) {
		w.Header().Set("ETag", `"`+f.blob+`"`)
		serveContent(w, r, f.data)
		return
	}
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.data)))
	w.Header().Set("X-Linked-Etag", `"`+f.sum+`"`)
	w.Header().Set("Accept-Ranges", "bytes")
	if s.currentOptions().Xet {
		w.Header().Set("X-Xet-Hash", f.sum)
		w.Header().Set("X-Xet-Refresh-Route", fmt.Sprintf("%s/api/models/%s/xet-read-token/%s", s.URL, m.ID, m.commit))
	}
	location := fmt.Sprintf("%s/repos/%s/%s?Expires=%d&Signature=%s", s.cdnFor(r), m.commit[:2], f.sum, time.Now().Add(time.Hour).Unix(), gitBlob([]byte(f.sum))[:16])
	http.Redirect(w, r, location, http.StatusFound)
}

// cdnFor is the second host under the name by which the client calls this
// machine: in a sandbox, loopback has another one.
func (s *Server) cdnFor(r *http.Request) string {
	name, _, err := net.SplitHostPort(r.Host)
	cdn, urlErr := url.Parse(s.CDNURL)
	if err != nil || urlErr != nil {
		return s.CDNURL
	}
	return "http://" + net.JoinHostPort(name, cdn.Port())
}

// serveCDN serves large files by their hash to whoever has a signed address,
// and refuses requests that bring a hub's token along, as the real one does.
func (s *Server) serveCDN(w http.ResponseWriter, r *http.Request) {
	sum := path.Base(r.URL.Path)
	switch data, ok := s.content(sum); {
	case r.Header.Get("Authorization") != "":
		http.Error(w, "only one auth mechanism allowed", http.StatusBadRequest)
	case r.URL.Query().Get("Signature") != gitBlob([]byte(sum))[:16]:
		http.Error(w, "signature mismatch", http.StatusForbidden)
	case !ok:
		http.NotFound(w, r)
	default:
		w.Header().Set("ETag", `"`+sum+`"`)
		options := s.currentOptions()
		if options.NoRanges {
			r.Header.Del("Range")
		}
		if out, ok := w.(*writer); ok {
			out.bytesPerSecond = options.BytesPerSecond
		}
		serveContent(w, r, data)
	}
}

func serveContent(w http.ResponseWriter, r *http.Request, data []byte) {
	if out, ok := w.(*writer); ok {
		out.content = true
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// content finds a large file of any commit by its hash.
func (s *Server) content(sum string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.contents[sum]
	return data, ok
}

func (s *Server) currentOptions() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options
}
