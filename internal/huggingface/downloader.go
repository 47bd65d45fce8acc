package huggingface

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// HubVersion is the release of Python's huggingface_hub that the downloader
// was written for and is tested with.
const HubVersion = "2.4.0"

//go:embed conceal.py
var concealer string

//go:embed hub.py
var hubAccess string

//go:embed downloader.py
var downloader string

// DownloaderPackages are the Python packages that [Downloader] needs, as pip
// requirements. They need Python 3.10 or later.
func DownloaderPackages() []string { return []string{"huggingface_hub==" + HubVersion} }

// Downloader returns the argv of the program that downloads a model: a Python
// program that never changes, reads an [Order] from its stdin, and reports as
// lines of JSON that [ParseReport] reads. It runs where the model's volume is
// mounted. After SIGTERM and after SIGKILL the next run goes on where it ended.
func Downloader() []string {
	return []string{"python3", "-c", concealer + "\n\n" + hubAccess + "\n\n" + downloader}
}

// Order tells the downloader what to fetch. It holds the token and must travel
// by stdin only.
type Order struct {
	Endpoint string // the hub's base URL
	Token    string // "" = none
	Repo     string
	Commit   string
	Revision string // as asked for; only recorded
	Volume   string // name of the volume, recorded so that no manifest vouches for another volume
	Root     string // where the volume is mounted
	Files    []File
	LeftOut  []LeftOut // only recorded; none for a hidden model
	Rehash   bool      // read every byte of an existing download again, instead of trusting the sizes
	Conceal  []string  // ids of models that no file may name afterwards; none = an ordinary download

	// Knobs; the zero values are the ones for real hubs.
	Workers      int     // files fetched at once; 0 = 8
	StallSeconds int     // silence after which a connection is given up; 0 = 30
	Retries      int     // failures in a row, without a byte arriving, before giving up; 0 = 5
	PauseSeconds float64 // pause after the first failure, doubled each time up to 30 s; 0 = 0.5
	Connections  int     // to the hub, for all files together; 0 = 16
	LargeBytes   int64   // files from this size on come in pieces over several connections; 0 = 64 MiB
	PieceBytes   int64   // what one request asks for of a large file; 0 = 16 MiB
}

// Line is the order as the downloader reads it: one line of JSON.
func (o Order) Line() ([]byte, error) {
	line, err := json.Marshal(map[string]any{
		"endpoint":       o.Endpoint,
		"token":          o.Token,
		"repo":           o.Repo,
		"commit":         o.Commit,
		"revision":       o.Revision,
		"volume":         o.Volume,
		"root":           o.Root,
		"files":          o.Files,
		"left_out":       o.LeftOut,
		"rehash":         o.Rehash,
		"conceal":        o.Conceal,
		"workers":        cmp.Or(o.Workers, 8),
		"stall_seconds":  cmp.Or(o.StallSeconds, 30),
		"retries":        cmp.Or(o.Retries, 5),
		"pause_seconds":  cmp.Or(o.PauseSeconds, 0.5),
		"connections":    cmp.Or(o.Connections, 16),
		"parallel_bytes": cmp.Or(o.LargeBytes, 64<<20),
		"piece_bytes":    cmp.Or(o.PieceBytes, 16<<20),
	})
	if err != nil {
		return nil, fmt.Errorf("encode download order: %w", err)
	}
	return append(line, '\n'), nil
}

// Report is one line of what the downloader says.
type Report struct {
	Event   string `json:"event"` // "progress", then "done" or "error" as the last one
	Bytes   int64  `json:"bytes"` // on the volume, those of earlier runs included
	Total   int64  `json:"total"` // bytes
	Files   int    `json:"files"` // complete and verified
	Of      int    `json:"of"`
	Cached  bool   `json:"cached"`  // with "done": everything was there already
	Code    string `json:"code"`    // with "error"
	Message string `json:"message"` // with "error"; names no model
	Path    string `json:"path"`    // with "error": the file, if it was about one
}

// ParseReport reads a line of the downloader's output; ok is false for lines
// that are not reports.
func ParseReport(line []byte) (r Report, ok bool) {
	if err := json.Unmarshal(line, &r); err != nil {
		return Report{}, false
	}
	switch r.Event {
	case "progress", "done", "error":
		return r, true
	}
	return Report{}, false
}

// Err is the error that an "error" report stands for, and nil for the others.
// It names no model.
func (r Report) Err() error {
	if r.Event != "error" {
		return nil
	}
	return &DownloadError{Code: r.Code, Message: r.Message, Path: r.Path}
}

// DownloadError is a download that the downloader itself gave up. It matches
// the error of this package that its code stands for.
type DownloadError struct {
	Code    string // "gated", "disk_full", ...
	Message string
	Path    string // may be ""
}

func (e *DownloadError) Error() string {
	if e.Path != "" {
		return shown.Text(fmt.Sprintf("fetch %s: %s", e.Path, e.Message))
	}
	return shown.Text(e.Message)
}

func (e *DownloadError) Unwrap() error {
	switch e.Code {
	case "gated":
		return ErrGated
	case "not_found":
		return ErrNotFound
	case "file_not_found":
		return ErrFileNotFound
	case "unauthorized":
		return ErrUnauthorized
	case "rate_limited":
		return ErrRateLimited
	case "unavailable":
		return ErrUnavailable
	case "offline":
		return ErrOffline
	case "stalled", "interrupted":
		return ErrStalled
	case "corrupt":
		return ErrCorrupt
	case "disk_full":
		return ErrDiskFull
	case "cannot_hide":
		return ErrCannotHide
	case "stopped":
		return ErrStopped
	}
	return nil
}
