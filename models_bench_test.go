package seer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// BenchmarkModelStart measures how old the sandbox that bills is when Start
// returns, with a model that is downloaded (cold) and one that is there
// (warm); and, for comparison, how old it would be had it waited for the
// download, as it does where downloads run in it.
func BenchmarkModelStart(b *testing.B) {
	hub := hubtest.NewServer(b)
	server := seertest.NewServer(b, seertest.AllowHost(strings.TrimPrefix(hub.URL, "http://"), strings.TrimPrefix(hub.CDNURL, "http://")))
	b.Setenv("HF_ENDPOINT", hub.URL)
	b.Setenv("HF_TOKEN", "")

	// start reports the age of the sandbox and how long the download took.
	start := func(model string) (age, download time.Duration) {
		var created time.Time
		sandbox, err := seer.NewSandbox(seer.SandboxConfig{Models: []seer.ModelConfig{{Name: model}}},
			seer.WithBackend(server.Backend()),
			seer.WithProgress(func(e seer.Event) {
				switch {
				case e.Kind == seer.EventStarted && e.Step == "create sandbox":
					created = e.Time
				case e.Kind == seer.EventDone && e.Step == "download "+model:
					download = e.Elapsed
				}
			})).Start(b.Context())
		require.NoError(b, err)
		age = time.Since(created)
		require.NoError(b, sandbox.Terminate(b.Context()))
		return age, download
	}
	n := 0
	fresh := func() string {
		n++
		id := fmt.Sprintf("acme/cold-%d", n)
		hub.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
		return id
	}
	start(fresh()) // builds the downloader's image
	warm := fresh()
	start(warm)

	var ages [3]time.Duration
	runs := 0
	for b.Loop() {
		cold, download := start(fresh())
		cached, _ := start(warm)
		ages[0] += cold
		ages[1] += cached
		ages[2] += cold + download
		runs++
	}
	for i, name := range []string{"cold-ms", "warm-ms", "inside-ms"} {
		b.ReportMetric(float64(ages[i].Microseconds())/1000/float64(runs), name)
	}
}
