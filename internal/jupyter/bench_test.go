package jupyter_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

// BenchmarkExecute compares a cell with the same kernel messages sent and
// received by hand.
func BenchmarkExecute(b *testing.B) {
	running := jupytertest.Start(b)
	server, err := jupyter.Await(b.Context(), running.Config)
	require.NoError(b, err)
	defer server.Close()
	kernel, err := server.StartKernel(b.Context(), "", "")
	require.NoError(b, err)
	defer kernel.Close()

	b.Run("raw", func(b *testing.B) { benchmarkRaw(b, running.Config, kernel.ID()) })
	b.Run("cell", func(b *testing.B) {
		for b.Loop() {
			_, err := kernel.Execute(b.Context(), "x = 1", nil)
			require.NoError(b, err)
		}
	})
	for _, chunks := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("%d chunks", chunks), func(b *testing.B) {
			for b.Loop() {
				_, err := kernel.Execute(b.Context(), fmt.Sprintf("for i in range(%d): print(i, flush=True)", chunks), nil)
				require.NoError(b, err)
			}
		})
	}
}

// benchmarkRaw speaks the subprotocol with as little code as possible.
func benchmarkRaw(b *testing.B, config jupyter.Config, kernelID string) {
	const code = `{"code":"x = 1","silent":false,"store_history":true,"user_expressions":{},"allow_stdin":false,"stop_on_error":false}`
	config.Dial = nil
	client := jupyter.HTTPClientForTest(config)
	conn, _, err := websocket.Dial(b.Context(), config.BaseURL+"api/kernels/"+kernelID+"/channels?session_id=raw", &websocket.DialOptions{
		HTTPClient:   client,
		HTTPHeader:   http.Header{"Authorization": {"token " + config.Token}},
		Subprotocols: []string{"v1.kernel.websocket.jupyter.org"},
	})
	require.NoError(b, err)
	defer conn.CloseNow() //nolint:errcheck // the end of a benchmark
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprint("raw-", n)
		head, err := json.Marshal(map[string]string{
			"msg_id": id, "msg_type": "execute_request", "session": "raw",
			"username": "u", "version": "5.3", "date": "2030-01-01T00:00:00Z",
		})
		require.NoError(b, err)
		require.NoError(b, conn.Write(b.Context(), websocket.MessageBinary,
			frame("shell", string(head), "{}", "{}", code)))
		for replied, idle := false, false; !replied || !idle; {
			_, data, err := conn.Read(b.Context())
			require.NoError(b, err)
			answer := string(data)
			if strings.Contains(answer, id) {
				replied = replied || strings.Contains(answer, "execute_reply")
				idle = idle || strings.Contains(answer, `"idle"`)
			}
		}
	}
}

func frame(parts ...string) []byte {
	at := 8 * (len(parts) + 2)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(parts)+1))
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	for _, part := range parts {
		at += len(part)
		b = binary.LittleEndian.AppendUint64(b, uint64(at))
	}
	return append(b, strings.Join(parts, "")...)
}

// BenchmarkNotebook encodes a notebook after every tenth of its chunks: the
// time per chunk does not grow with what is there.
func BenchmarkNotebook(b *testing.B) {
	for _, chunks := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d chunks", chunks), func(b *testing.B) {
			for b.Loop() {
				notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
				require.NoError(b, err)
				began, err := notebook.Begin(notebook.AddCode("x"))
				require.NoError(b, err)
				for i := range chunks {
					began.Add(jupyter.Output{Type: jupyter.OutputStream, Name: jupyter.Stdout, Text: "line\n"})
					if i%(chunks/10) == 0 {
						notebook.Encode()
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*chunks), "ns/chunk")
		})
	}
}
