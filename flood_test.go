package seer_test

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// floodingCode shows without end what nobody keeps.
const floodingCode = "print('the beginning', flush=True)\nwhile True: print('x' * 1000)"

// TestFloodsTakeLittleMemory has code print until its context ends, in every
// kind of session and as an agent does, and looks at this program's memory
// meanwhile. No other test runs beside it.
func TestFloodsTakeLittleMemory(t *testing.T) {
	const (
		limit = 16 << 20    // what is kept by itself
		room  = 300_000_000 // under 200 where nothing else wants the processor; garbage waits longer elsewhere
	)
	local := startLocal(t, nil, nil)
	cli, err := seer.NewCLISession(within(t, patience), startSandbox(t, seer.SandboxConfig{}), nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { closeSession(t, cli) })
	notebook := startLocalNotebook(t, nil, seer.LocalNotebookOptions{})
	for _, kind := range []struct {
		name    string
		session seer.Session
	}{{"local", local}, {"CLI", cli}, {"notebook", notebook}} {
		peak := peakMemory(func() { assertFlood(t, kind.session) })
		assert.Less(t, peak, int64(limit+room), kind.name)
		t.Logf("%s: %d MB more at most", kind.name, peak/1_000_000)
	}
	for _, kind := range []struct {
		name, tool string
		session    seer.Session
	}{{"local", "run_python", local}, {"CLI", "run_python", cli}, {"notebook", "execute_code", notebook}} {
		client := agent(t, onlyServer(t, kind.session), nil)
		peak := peakMemory(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := client.CallTool(ctx, &mcp.CallToolParams{Name: kind.tool, Arguments: map[string]any{"code": floodingCode}})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		assert.Less(t, peak, int64(limit+room), "an agent of the %s session", kind.name)
		t.Logf("%s, agent: %d MB more at most", kind.name, peak/1_000_000)
	}
}

func assertFlood(t *testing.T, session seer.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	result, err := session.Exec(ctx, floodingCode)
	t.Logf("ended after %v", time.Since(began))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, seer.ErrKernelDied)
	assert.True(t, strings.HasPrefix(result.Text(), "the beginning\n"))
	assert.NotEmpty(t, result.Text())
	assert.Equal(t, "2", textOf(t, session, "1 + 1"), "the next code gets its own answer")
}

// peakMemory is how much more memory this program had at once while do ran, in bytes.
func peakMemory(do func()) int64 {
	debug.FreeOSMemory()
	before := memory()
	peak, done := before, make(chan struct{})
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			select {
			case <-done:
				return
			default:
				peak = max(peak, memory())
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	do()
	close(done)
	<-sampled
	return peak - before
}

// memory is what the program has from the system, in bytes.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
