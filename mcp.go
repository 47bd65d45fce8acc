package seer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// MCPServer tells an agent's client how to reach an MCP server. Its JSON is an
// entry under "mcpServers" in the files that agents read.
type MCPServer struct {
	Type    string            `json:"type"`              // "http", or "stdio" for one that the client starts
	Command string            `json:"command,omitempty"` // "stdio": an absolute path
	Args    []string          `json:"args,omitempty"`    // "stdio"
	Env     map[string]string `json:"env,omitempty"`     // "stdio"
	URL     string            `json:"url,omitempty"`     // "http"
	Headers map[string]string `json:"headers,omitempty"` // "http"; holds a secret token
}

// mcpHost is the MCP side of a session: one server, and the loopback port that
// the first MCPConfig opens.
type mcpHost struct {
	name   string
	server *mcpserver.Server
	logger *slog.Logger

	mu       sync.Mutex
	listener *mcpserver.Listener
	closed   bool
}

func newMCPHost(name string, tools mcpserver.Tools, instructions string, logger *slog.Logger) *mcpHost {
	return newLimitedMCPHost(name, tools, instructions, options{logger: logger})
}

// newLimitedMCPHost is newMCPHost where a sandbox's options say how much text
// a result of a tool may have.
func newLimitedMCPHost(name string, tools mcpserver.Tools, instructions string, opts options) *mcpHost {
	return &mcpHost{
		name: name,
		server: mcpserver.New(name, tools, mcpserver.Options{
			Instructions: instructions, Logger: opts.logger, MaxText: opts.toolText,
		}),
		logger: opts.logger,
	}
}

// MCPConfig is what an agent's MCP client takes to reach the session's tools:
// a server on a loopback port of this program, opened by the first call, with
// a random token. It lives until Close. nil after Close, or when no port could
// be opened, which is logged.
func (h *mcpHost) MCPConfig() map[string]MCPServer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	if h.listener == nil {
		listener, err := h.server.Listen(context.Background())
		if err != nil {
			h.logger.Error("open port for MCP", "session", h.name, "error", err)
			return nil
		}
		h.listener = listener
	}
	return map[string]MCPServer{h.name: {
		Type:    "http",
		URL:     h.listener.URL,
		Headers: map[string]string{"Authorization": "Bearer " + h.listener.Token},
	}}
}

// MCPHandler serves the session's tools over streamable HTTP wherever it is
// mounted. It asks for no token: put it behind your own authentication.
func (h *mcpHost) MCPHandler() http.Handler { return h.server.Handler() }

// ServeMCP serves the session's tools to the one client at the other end of
// two streams, such as standard input and output, until it closes them or ctx
// ends.
func (h *mcpHost) ServeMCP(ctx context.Context, in io.Reader, out io.Writer) error {
	return h.server.Serve(ctx, in, out)
}

// closeMCP ends all calls of agents and closes the port.
func (h *mcpHost) closeMCP() error {
	h.mu.Lock()
	listener := h.listener
	h.listener, h.closed = nil, true
	h.mu.Unlock()
	err := h.server.Close()
	if listener != nil {
		if closeErr := listener.Close(); err == nil {
			err = closeErr
		}
	}
	return err
}

// outcome is a result as agents get it.
func outcome(result *Result, err error) (mcpserver.Outcome, error) {
	var o mcpserver.Outcome
	if result == nil {
		return o, err
	}
	o.Text = result.Text()
	if result.Incomplete {
		if o.Text != "" && !strings.HasSuffix(o.Text, "\n") {
			o.Text += "\n"
		}
		o.Text += "[some output may be missing]"
	}
	for _, image := range result.Images() {
		o.Images = append(o.Images, mcpserver.Image(image))
	}
	var raised *KernelError
	if errors.As(err, &raised) { // its text is there already
		o.Failed, err = true, nil
	}
	return o, err
}
