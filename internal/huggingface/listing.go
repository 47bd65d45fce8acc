package huggingface

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// modelInfo is the part of the hub's answer about a model that we use.
type modelInfo struct {
	ID       string    `json:"id"`
	SHA      string    `json:"sha"`
	Gated    gate      `json:"gated"`
	Private  bool      `json:"private"`
	Siblings []sibling `json:"siblings"`
}

type sibling struct {
	Path   string   `json:"rfilename"`
	Size   *int64   `json:"size"`
	BlobID string   `json:"blobId"`
	LFS    *lfsInfo `json:"lfs"`
}

type lfsInfo struct {
	SHA256 string `json:"sha256"` // in a model's description
	OID    string `json:"oid"`    // in a tree
	Size   int64  `json:"size"`
}

// gate reads false, "auto" or "manual".
type gate bool

func (g *gate) UnmarshalJSON(data []byte) error {
	*g = gate(len(data) > 0 && data[0] == '"')
	return nil
}

// name is what the hub calls the model that was asked for.
func (m *modelInfo) name(asked string) string {
	if m.ID == "" || !modelID.MatchString(m.ID) { // a mirror, say
		return asked
	}
	return m.ID
}

// files converts the siblings; complete is false when the hub (a mirror, say)
// left out what only the tree tells.
func (m *modelInfo) files() (files []File, complete bool) {
	for _, s := range m.Siblings {
		switch {
		case s.LFS != nil && s.LFS.SHA256 != "":
			files = append(files, File{Path: s.Path, Size: s.LFS.Size, SHA256: s.LFS.SHA256})
		case s.LFS == nil && s.Size != nil && s.BlobID != "":
			files = append(files, File{Path: s.Path, Size: *s.Size, Blob: s.BlobID})
		default:
			return nil, false
		}
	}
	return files, len(files) > 0
}

type treeEntry struct {
	Type string   `json:"type"`
	Path string   `json:"path"`
	Size int64    `json:"size"`
	OID  string   `json:"oid"`
	LFS  *lfsInfo `json:"lfs"`
}

// tree lists a commit's files page by page.
func (c *Client) tree(ctx context.Context, model, commit string) ([]File, error) {
	var files []File
	page := "/api/models/" + escapePath(model) + "/tree/" + commit + "?recursive=true&expand=false"
	for page != "" {
		var entries []treeEntry
		header, err := c.getJSON(ctx, page, &entries)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			switch {
			case e.Type != "file":
			case e.LFS != nil:
				files = append(files, File{Path: e.Path, Size: e.LFS.Size, SHA256: e.LFS.OID})
			default:
				files = append(files, File{Path: e.Path, Size: e.Size, Blob: e.OID})
			}
		}
		if page, err = nextPage(header.Get("Link")); err != nil {
			return nil, err
		}
	}
	return files, nil
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="next"`)

// nextPage reads the path and query of the next page off a Link header; the
// host stays the endpoint's, whatever the header says.
func nextPage(link string) (string, error) {
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		return "", nil
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return "", fmt.Errorf("%w: next page: %w", ErrInvalidAnswer, withoutURL(err))
	}
	return u.RequestURI(), nil
}

// checkFiles sorts files and refuses paths that could leave their directory
// and files that nothing could verify.
func checkFiles(files []File) ([]File, error) {
	for _, f := range files {
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsAny(f.Path, "\\\x00") || f.Path == ".seer" || strings.HasPrefix(f.Path, ".seer/") {
			return nil, fmt.Errorf("%w: file path %q", ErrInvalidAnswer, f.Path)
		}
		if f.Size < 0 || !isHex(f.SHA256, 64) && !isHex(f.Blob, 40) {
			return nil, fmt.Errorf("%w: file %q has no size or hash", ErrInvalidAnswer, f.Path)
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// AdapterBase returns the base model that an adapter's own configuration
// names. It is "" when the repository holds no adapter configuration or the
// configuration names none.
func (c *Client) AdapterBase(ctx context.Context, repo *Repo) (string, error) {
	const name = "adapter_config.json"
	if !slices.ContainsFunc(repo.Files, func(f File) bool { return f.Path == name }) {
		return "", nil
	}
	data, err := c.ReadFile(ctx, repo, name)
	if err != nil {
		return "", err
	}
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", &Error{Op: "read " + name + " of model", Model: repo.ID, Err: fmt.Errorf("%w: %w", ErrInvalidAnswer, err)}
	}
	return config.Base, nil
}

// CheckBase is an [ErrWrongBase] when the adapter's own configuration names
// another base model than base. A configuration that names a directory of
// whoever trained the adapter says nothing and passes.
func (c *Client) CheckBase(ctx context.Context, adapter *Repo, base string) error {
	own, err := c.AdapterBase(ctx, adapter)
	if err != nil {
		return err
	}
	if !modelID.MatchString(own) || strings.EqualFold(own, base) {
		return nil
	}
	ownName, err := c.repository(ctx, own)
	if err != nil {
		return err
	}
	baseName, err := c.repository(ctx, base)
	if err != nil || strings.EqualFold(ownName, baseName) {
		return err
	}
	return &Error{Op: "check adapter", Model: adapter.ID, Err: &BaseError{Own: own, Asked: base}}
}

// repository is the hub's present name of a model; its given name if the hub
// does not know it, or not to this token.
func (c *Client) repository(ctx context.Context, model string) (string, error) {
	var info modelInfo
	_, err := c.getJSON(ctx, "/api/models/"+escapePath(model), &info)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrUnauthorized), errors.Is(err, ErrGated):
		return model, nil
	case err != nil:
		return "", c.describe("resolve model", model, "", err)
	}
	return info.name(model), nil
}

// maxIndexes is how many indexes of weights one repository may have: each costs a request.
const maxIndexes = 64

// CheckIndexes is an [ErrIncomplete] when an index of weights among the chosen
// files names a file that the repository does not have.
func (c *Client) CheckIndexes(ctx context.Context, repo *Repo, chosen []File) error {
	there := make(map[string]bool, len(repo.Files))
	for _, f := range repo.Files {
		there[f.Path] = true
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	indexes := 0
	for _, f := range chosen {
		if !weightsIndex.MatchString(f.Path) || indexes == maxIndexes {
			continue
		}
		indexes++
		group.Go(func() error { return c.checkIndex(groupCtx, repo, f.Path, there) })
	}
	return group.Wait()
}

var weightsIndex = regexp.MustCompile(`\.(safetensors|bin)\.index(\.\w+)?\.json$`)

func (c *Client) checkIndex(ctx context.Context, repo *Repo, name string, there map[string]bool) error {
	data, err := c.ReadFile(ctx, repo, name)
	if err != nil {
		return err
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return &Error{Op: "read " + name + " of model", Model: repo.ID, Err: fmt.Errorf("%w: %w", ErrInvalidAnswer, err)}
	}
	for _, weights := range index.Files {
		if file := path.Join(path.Dir(name), weights); !there[file] {
			return &Error{Op: "check model", Model: repo.ID, Err: fmt.Errorf("%w: %s names %s", ErrIncomplete, name, file)}
		}
	}
	return nil
}

// modelID matches org/name, and the bare names of the first models.
var modelID = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$`)

// BaseError says which base model an adapter names and which was declared. It
// matches [ErrWrongBase].
type BaseError struct{ Own, Asked string }

func (e *BaseError) Error() string {
	return fmt.Sprintf("%v: its configuration names %q, not %q; set ForceBase (force_base) if it fits all the same", ErrWrongBase, e.Own, e.Asked)
}

func (e *BaseError) Unwrap() error { return ErrWrongBase }
