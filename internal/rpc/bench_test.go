//go:build unix

package rpc_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// BenchmarkCall compares a call with the same function behind Python's own
// HTTP server: one that keeps connections and has threads, and one that has
// neither, as a minimal server would be written.
func BenchmarkCall(b *testing.B) {
	server := startServer(b, newest(b).path)
	client, _ := serve(b, server, "bench", "@expose\ndef add(a, b): return a + b\n")
	kwargs := map[string]any{"a": 1, "b": 2}
	calls := map[string]func() error{
		"served": func() error {
			var sum int
			return client.Call(b.Context(), "add", kwargs, &sum)
		},
		"threading": plainCall(b, "threading"),
		"single":    plainCall(b, "single"),
	}
	for _, name := range []string{"served", "threading", "single"} {
		call := calls[name]
		require.NoError(b, call())
		b.Run(name+"/1", func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, call())
			}
		})
		b.Run(name+"/16", func(b *testing.B) {
			var failed atomic.Int64
			b.SetParallelism(8) // times GOMAXPROCS, which -cpu 2 makes 16
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if call() != nil {
						failed.Add(1)
					}
				}
			})
			b.ReportMetric(float64(failed.Load()), "failed")
		})
	}
}

// BenchmarkCallByTurns is the same comparison on a machine that has other work:
// calls of both take turns, and the medians are compared.
func BenchmarkCallByTurns(b *testing.B) {
	server := startServer(b, newest(b).path)
	client, _ := serve(b, server, "bench", "@expose\ndef add(a, b): return a + b\n")
	kwargs := map[string]any{"a": 1, "b": 2}
	calls := []func() error{
		func() error { return client.Call(b.Context(), "add", kwargs, new(int)) },
		plainCall(b, "threading"),
	}
	times := make([][]time.Duration, len(calls))
	for b.Loop() {
		for i, call := range calls {
			began := time.Now()
			require.NoError(b, call())
			times[i] = append(times[i], time.Since(began))
		}
	}
	for i, name := range []string{"served-ns", "plain-ns"} {
		slices.Sort(times[i])
		b.ReportMetric(float64(times[i][len(times[i])/2]), name)
	}
}

func plainCall(b *testing.B, kind string) func() error {
	b.Helper()
	cmd := exec.Command(newest(b).path, "testdata/plain_server.py", kind)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		require.NoError(b, cmd.Process.Kill())
		require.Error(b, cmd.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(b, err)
	port, err := rpc.ParseReady(line)
	require.NoError(b, err)
	client := newHTTPClient(b)
	url := fmt.Sprintf("http://127.0.0.1:%d/add", port)
	return func() error {
		response, err := client.Post(url, "application/json", strings.NewReader(`{"a":1,"b":2}`))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
}
