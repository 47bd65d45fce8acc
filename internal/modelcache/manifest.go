package modelcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// ManifestPath is where on its volume a model's manifest is.
const ManifestPath = ".seer/manifest.json"

const manifestFormat = 1

// Manifest says what a volume holds. The downloader writes it last and
// atomically, so that a volume that has one is complete.
type Manifest struct {
	Format   int                   `json:"format"`
	Volume   string                `json:"volume"`             // the volume it was written for
	Model    string                `json:"model,omitempty"`    // "" = hidden
	Commit   string                `json:"commit,omitempty"`   // "" = hidden
	Revision string                `json:"revision,omitempty"` // as it was asked for first; "" = hidden
	Created  time.Time             `json:"created"`
	Files    []ManifestFile        `json:"files"`
	LeftOut  []huggingface.LeftOut `json:"left_out,omitempty"` // of the repository; none = hidden, or written before it was recorded
}

// ManifestFile is one file as it is on the volume.
type ManifestFile struct {
	Path   string `json:"path"` // relative to the volume's root
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// ParseManifest reads and checks a manifest.
func ParseManifest(data []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("parse manifest: %w", err)
	}
	switch {
	case m.Format != manifestFormat:
		return nil, fmt.Errorf("parse manifest: unknown format %d", m.Format)
	case m.Volume == "":
		return nil, errors.New("parse manifest: it names no volume")
	case len(m.Files) == 0:
		return nil, errors.New("parse manifest: it lists no files")
	}
	for _, f := range m.Files {
		if !fs.ValidPath(f.Path) || f.Size < 0 || len(f.SHA256) != 64 {
			return nil, fmt.Errorf("parse manifest: entry for file %q makes no sense", f.Path)
		}
	}
	return &m, nil
}

// Bytes is the size of all files together.
func (m *Manifest) Bytes() int64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}
