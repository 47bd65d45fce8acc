package huggingface_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// One large file from a hub whose connections are slow each: over one of them,
// and in pieces over several.
func BenchmarkLargeFile(b *testing.B) {
	const size, perConnection = 400 << 20, 20_000_000
	weights := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(weights)
	hub := hubtest.NewServer(b)
	hub.SetOptions(hubtest.Options{BytesPerSecond: perConnection})
	hub.Add(hubtest.Model{ID: modelID, Files: map[string][]byte{"model.safetensors": weights}})
	for name, large := range map[string]int64{"one": math.MaxInt64, "several": 0} {
		b.Run(fmt.Sprintf("connections=%s", name), func(b *testing.B) {
			for range b.N {
				d := newDownload(b, hub, modelID, "")
				d.order.StallSeconds = 30
				d.order.LargeBytes = large
				require.NoError(b, d.run().Err())
			}
		})
	}
}
