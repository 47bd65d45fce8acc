package huggingface_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// inPieces makes the weights of large come over several connections.
func inPieces(d *download) *download {
	d.order.LargeBytes, d.order.PieceBytes, d.order.Connections = 1<<20, 100<<10, 6
	return d
}

// A large file comes over several connections at once, each for a part of it.
func TestDownloadInPieces(t *testing.T) {
	t.Parallel()
	const size, piece, connections = 3<<20 + 5, 256 << 10, 6
	weights := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{8}).Read(weights)
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": weights}
	begin := func(t *testing.T) (*hubtest.Server, *download) {
		hub := hubtest.NewServer(t)
		hub.Add(hubtest.Model{ID: modelID, Files: files})
		d := newDownload(t, hub, modelID, "")
		d.order.LargeBytes, d.order.PieceBytes, d.order.Connections = 1<<20, piece, connections
		return hub, d
	}

	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		hub, d := begin(t)
		var mu sync.Mutex
		waiting, enough := 0, make(chan struct{})
		hub.OnRequest(func(r hubtest.Request) {
			if r.Range == "" || !r.CDN {
				return
			}
			mu.Lock()
			if waiting++; waiting == connections {
				close(enough)
			}
			mu.Unlock()
			<-enough
		})
		last := d.run()
		require.NoError(t, last.Err(), last.Message)
		d.holds(files)
		ranges := map[string]int{}
		for _, r := range hub.Requests() {
			if r.CDN {
				ranges[r.Range]++
			}
		}
		assert.Len(t, ranges, (size+piece-1)/piece)
		for piece, times := range ranges {
			assert.Equal(t, 1, times, piece)
		}
		assert.LessOrEqual(t, hub.Served(), int64(size+100), "no byte twice")
	})
	t.Run("what grew before counts", func(t *testing.T) {
		t.Parallel()
		hub, d := begin(t)
		staging := d.path(".seer/staging")
		require.NoError(t, os.MkdirAll(staging, 0o755))
		name := sha256.Sum256([]byte("model.safetensors"))
		require.NoError(t, os.WriteFile(filepath.Join(staging, hex.EncodeToString(name[:])[:32]+".part"), weights[:piece*3+7], 0o600))
		last := d.run()
		require.NoError(t, last.Err(), last.Message)
		d.holds(files)
		assert.LessOrEqual(t, hub.Served(), int64(size-3*piece+100))
	})
	for name, fault := range map[string]hubtest.Fault{
		"cut":             {Path: "/repos/", Times: 9, CutAfter: 50 << 10},
		"stalled":         {Path: "/repos/", Times: 2, StallAfter: 50 << 10},
		"expired address": {Path: "/repos/", Times: 3, Status: http.StatusForbidden},
		"missing there":   {Path: "/repos/", Times: 3, Status: http.StatusNotFound},
		"busy":            {Path: "/repos/", Times: 3, Status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, d := begin(t)
			hub.Fail(fault)
			last := d.run()
			require.NoError(t, last.Err(), last.Message)
			d.holds(files)
		})
	}
	t.Run("without ranges", func(t *testing.T) {
		t.Parallel()
		hub, d := begin(t)
		hub.SetOptions(hubtest.Options{NoRanges: true})
		last := d.run()
		require.NoError(t, last.Err(), last.Message)
		d.holds(files)
	})
	t.Run("wrong bytes", func(t *testing.T) {
		t.Parallel()
		_, d := begin(t)
		d.order.Retries = 1
		for i, f := range d.order.Files {
			if f.Path == "model.safetensors" {
				d.order.Files[i].SHA256 = strings.Repeat("0", 64)
			}
		}
		assert.ErrorIs(t, d.run().Err(), huggingface.ErrCorrupt)
	})
	// The hub's own protocol for large files is tried where it is offered, and
	// plain requests take over where it fails.
	t.Run("refused protocol", func(t *testing.T) {
		t.Parallel()
		hub, d := begin(t)
		hub.SetOptions(hubtest.Options{Xet: true})
		last := d.run()
		require.NoError(t, last.Err(), last.Message)
		d.holds(files)
		assert.Positive(t, hub.Count("/xet-read-token/"), "it was tried")
	})
}
