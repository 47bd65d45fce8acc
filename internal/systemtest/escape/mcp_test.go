//go:build linux

package escape_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// withHeaders sends the headers of a config.
type withHeaders struct {
	headers map[string]string
	next    *http.Transport
}

func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range w.headers {
		r.Header.Set(name, value)
	}
	return w.next.RoundTrip(r)
}

// connect connects to the tools of a session as an agent's client does.
func connect(t *testing.T, tools interface {
	MCPConfig() map[string]seer.MCPServer
}) *mcp.ClientSession {
	t.Helper()
	transport := &http.Transport{}
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	for _, server := range tools.MCPConfig() {
		session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
			Endpoint: server.URL, HTTPClient: &http.Client{Transport: withHeaders{server.Headers, transport}}, MaxRetries: -1,
		}, nil)
		require.NoError(t, err)
		t.Cleanup(func() {
			_ = session.Close() // the server may be gone, on purpose
			transport.CloseIdleConnections()
		})
		return session
	}
	t.Fatal("no server of tools")
	return nil
}

// callTool calls a tool and returns all that it says, its error included.
func callTool(t *testing.T, session *mcp.ClientSession, tool string, arguments map[string]any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	require.NoError(t, err)
	var said []string
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			said = append(said, text.Text)
		}
	}
	return strings.Join(said, "\n")
}
