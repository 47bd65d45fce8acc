package mcpserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Options adjusts [New].
type Options struct {
	Instructions string       // what a client tells its agent about the server; "" = nothing
	Logger       *slog.Logger // nil = no logging
	// MaxText bounds the text of a result, in bytes; of a longer one the middle
	// is left out. 0 = 100,000; less than 2000 counts as that.
	MaxText int
}

// Server is an MCP server for one session, or for a fleet. Its methods may be called from any
// goroutine.
type Server struct {
	mcp     *mcp.Server
	logger  *slog.Logger
	maxText int
	life    context.Context //nolint:containedctx // tool calls outlive requests and end with the server
	end     context.CancelFunc
}

// New makes a server with a name of its own. It must be closed.
func New(name string, tools Tools, opts Options) *Server {
	s := &Server{logger: opts.Logger, maxText: max(opts.MaxText, leastText)}
	if opts.MaxText == 0 {
		s.maxText = defaultText
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.mcp = mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, &mcp.ServerOptions{
		Instructions: opts.Instructions,
		Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
	})
	if tools.Notebook != nil {
		s.notebook(tools.Notebook)
	}
	if tools.Python != nil {
		s.python(tools.Python)
	}
	if tools.Shell != nil {
		s.shell(tools.Shell)
	}
	if tools.Files != nil {
		s.files(tools.Files)
	}
	if tools.Functions != nil {
		s.functions(tools.Functions)
	}
	if tools.Fleet != nil {
		s.fleet(tools.Fleet)
	}
	return s
}

// Handler serves MCP over streamable HTTP. It asks for no token.
func (s *Server) Handler() http.Handler {
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server {
		if s.life.Err() != nil {
			return nil
		}
		return s.mcp
	}, &mcp.StreamableHTTPOptions{
		MaxRequestBodyBytes:          maxRequest,
		PropagateRequestCancellation: true,
	})
}

// maxRequest bounds what an agent sends at once: a file, mostly.
const maxRequest = 64 << 20

// Serve speaks MCP over two streams until the client closes its side, which is
// no error, or ctx ends.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, stop := s.bound(ctx)
	defer stop()
	err := s.mcp.Run(ctx, streams{in, out})
	if errors.Is(err, io.EOF) || s.life.Err() != nil {
		return nil
	}
	return err
}

// Close ends every call and every connection, and waits for them. It may be
// called again.
func (s *Server) Close() error {
	s.end()
	var errs []error
	for session := range s.mcp.Sessions() {
		errs = append(errs, session.Close())
	}
	return errors.Join(errs...)
}

// bound ties a context to the server's life as well.
func (s *Server) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}
