// Package huggingface asks a HuggingFace hub what a model consists of, chooses
// the files worth downloading, and holds the program that downloads them
// inside a sandbox.
package huggingface

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultEndpoint is the hub that is asked unless the user names another
// (HF_ENDPOINT).
const DefaultEndpoint = "https://huggingface.co"

// maxAnswer bounds the metadata that is read into memory, in bytes. The file
// list of the largest public repositories stays below it.
const maxAnswer = 64 << 20

// Client reads metadata from a hub. Its zero value asks the public hub without
// a token. It may be used from several goroutines; the fields must not be
// changed after the first call.
type Client struct {
	Endpoint   string        // base URL; "" = DefaultEndpoint
	Token      string        // sent to Endpoint's host alone, over every redirect; "" = none
	HTTPClient *http.Client  // nil = http.DefaultClient
	RetryPause time.Duration // first pause after a failure, doubled each time; 0 = 500 ms
}

// Repo is one model repository at one commit.
type Repo struct {
	ID      string // as the hub names it: a renamed repository answers to its old names too
	Commit  string // what the revision meant when it was resolved
	Gated   bool   // access has to be granted; Resolve has made sure that it was
	Private bool
	Files   []File // sorted by path
}

// File is one file of a repository. One of the two hashes is set.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`             // bytes
	SHA256 string `json:"sha256,omitempty"` // of the content, for files in large file storage
	Blob   string `json:"blob,omitempty"`   // git's object id (SHA-1 of a header and the content), for all others
}

// Bytes adds up the sizes of files.
func Bytes(files []File) int64 {
	var sum int64
	for _, f := range files {
		sum += f.Size
	}
	return sum
}

// Resolve finds the commit that revision ("" = main; a branch, tag or commit)
// of a model stands for and its files, and makes sure that they may be
// downloaded. Every error that the hub caused is an [*Error] naming the model.
func (c *Client) Resolve(ctx context.Context, model, revision string) (*Repo, error) {
	fail := func(err error) (*Repo, error) { return nil, c.describe("resolve model", model, revision, err) }

	var info modelInfo
	path := "/api/models/" + escapePath(model) + "/revision/" + url.PathEscape(cmp.Or(revision, "main"))
	if _, err := c.getJSON(ctx, path+"?blobs=true", &info); err != nil {
		return fail(err)
	}
	if info.SHA == "" {
		return fail(fmt.Errorf("%w: it names no commit", ErrInvalidAnswer))
	}
	files, complete := info.files()
	if !complete {
		var err error
		if files, err = c.tree(ctx, model, info.SHA); err != nil {
			return fail(err)
		}
	}
	files, err := checkFiles(files)
	if err != nil {
		return fail(err)
	}
	repo := &Repo{ID: info.name(model), Commit: info.SHA, Gated: bool(info.Gated), Private: info.Private, Files: files}
	if repo.Gated {
		if err := c.checkAccess(ctx, repo); err != nil {
			return fail(err)
		}
	}
	return repo, nil
}

// ReadFile reads a small file (at most 64 MiB) of a repository.
func (c *Client) ReadFile(ctx context.Context, repo *Repo, path string) ([]byte, error) {
	data, _, err := c.do(ctx, http.MethodGet, resolvePath(repo, path))
	if err != nil {
		return nil, c.describe("read "+path+" of model", repo.ID, "", err)
	}
	return data, nil
}

// checkAccess asks for the smallest file: the list of a gated model's files is
// public, their content is not.
func (c *Client) checkAccess(ctx context.Context, repo *Repo) error {
	if len(repo.Files) == 0 {
		return nil
	}
	smallest := repo.Files[0]
	for _, f := range repo.Files {
		if f.Size < smallest.Size {
			smallest = f
		}
	}
	_, _, err := c.do(ctx, http.MethodHead, resolvePath(repo, smallest.Path))
	return err
}

func resolvePath(repo *Repo, path string) string {
	return "/" + escapePath(repo.ID) + "/resolve/" + repo.Commit + "/" + escapePath(path)
}

// escapePath escapes each part of a slash-separated path.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// describe turns err into an [*Error] about one model.
func (c *Client) describe(op, model, revision string, err error) error {
	e := &Error{Op: op, Model: model, Revision: revision, Err: err}
	var answer *answerError
	if errors.As(err, &answer) {
		e.Err, e.RetryAfter = answer.kind, answer.retryAfter
		if answer.page {
			e.Page = c.endpoint() + "/" + escapePath(model)
		}
	}
	return e
}

func (c *Client) endpoint() string {
	return strings.TrimRight(cmp.Or(c.Endpoint, DefaultEndpoint), "/")
}

// getJSON decodes the answer to a GET into v and returns its headers.
func (c *Client) getJSON(ctx context.Context, path string, v any) (http.Header, error) {
	data, header, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidAnswer, err)
	}
	return header, nil
}
