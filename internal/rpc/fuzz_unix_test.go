//go:build unix

package rpc_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

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
