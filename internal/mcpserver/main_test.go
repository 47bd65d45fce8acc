package mcpserver_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect serves tools over HTTP and connects a client.
func connect(t *testing.T, tools mcpserver.Tools, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	server := mcpserver.New("test", tools, mcpserver.Options{Instructions: "Be careful."})
	listener := httptest.NewServer(server.Handler())
	t.Cleanup(listener.Close)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, opts)
	session, err := client.Connect(within(t), &mcp.StreamableClientTransport{
		Endpoint: listener.URL, HTTPClient: listener.Client(), MaxRetries: -1,
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close()) })
	return session
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// call returns the text of a tool's result, and whether it says it failed.
func call(t *testing.T, session *mcp.ClientSession, tool string, arguments any) (string, bool) {
	t.Helper()
	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	require.NoError(t, err)
	var all strings.Builder
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			all.WriteString(text.Text)
		}
	}
	return all.String(), result.IsError
}
