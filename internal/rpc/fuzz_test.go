package rpc_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

var bodies = []string{
	`{}`,
	`{"a": {"$float": "nan"}, "b": {"$bytes": "aGk="}, "c": {"$tuple": [1, {"$set": []}]}}`,
	`{"a": {"$datetime": "2024-01-02T03:04:05.5+01:00"}, "b": {"$timedelta": [1, 2, 3]}, "c": {"$complex": [1, {"$float": "inf"}]}}`,
	`{"a": {"$dict": [[[1, 2], "x"], ["y", null]]}, "b": {"$ndarray": {"dtype": "<f4", "shape": [1], "data": "AACAPw=="}}}`,
	`{"a": {"$unknown": 1}, "b": {"$dict": [1]}, "c": {"$float": []}}`,
	`{"a": "\ud800", "b": 1e999, "c": -0.0}`,
	`[`,
}

// FuzzDecodeValue reads what a server may answer, into every kind of variable.
func FuzzDecodeValue(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var tree any
		if err := rpc.Value(data).Decode(&tree); err == nil {
			assert.True(t, json.Valid(data) || strings.Contains(string(data), `"$`))
		}
		for _, into := range []any{
			new(map[string]any), new([]any), new(string), new(float64), new(int), new(bool), new([]byte), new(time.Time),
			new(time.Duration), new(complex128), new(rpc.Array), new(map[string][]float32), new(*int), new(rpc.Value),
			new(struct {
				A time.Time
				B []byte
				C map[int]complex64
			}),
		} {
			_ = rpc.Value(data).Decode(into) // any error will do
		}
	})
}

// FuzzRequestBody sends a real server what a caller with the token may: the
// answer is a result or says what is wrong, and the server lives on.
func FuzzRequestBody(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	server := startServer(f, newest(f).path)
	serve(f, server, "echo", "@expose\ndef f(**kw): return kw\n")
	client := newHTTPClient(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost,
			server.ServiceURL("echo")+"/call/f", strings.NewReader(string(body)))
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer token-of-echo")
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		var parts struct {
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Type string `json:"type"`
			} `json:"error"`
		}
		require.NoError(t, json.Unmarshal(answer, &parts), "%s", answer)
		switch response.StatusCode {
		case http.StatusOK:
			require.NotNil(t, parts.Result)
			var result any
			_ = rpc.Value(parts.Result).Decode(&result) // not everything that Python sends has a place in Go
		case http.StatusBadRequest:
			require.NotNil(t, parts.Error)
			require.Equal(t, "BadRequest", parts.Error.Type, "%s", answer)
		case http.StatusInternalServerError: // reading allows for deeper nesting than writing does
			require.Contains(t, string(answer), "f: result is nested too deeply")
		default:
			require.Fail(t, "unexpected status", "%d: %s", response.StatusCode, answer)
		}
	})
}
