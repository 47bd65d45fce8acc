package mcpserver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// defaultText bounds the text of a result, in bytes: an agent has to read it.
	defaultText = 100_000
	// leastText leaves room for what is said about a text that is cut.
	leastText = 2000
	// maxCellText bounds the output of each cell when a notebook is read.
	maxCellText = 10_000
)

// effect tells a client what a tool may do, so that it knows when to ask a person.
type effect int

const (
	reads    effect = iota // changes nothing
	adds                   // makes something new and takes nothing away
	destroys               // may change or end what is there
)

func (e effect) annotations() *mcp.ToolAnnotations {
	destructive := e == destroys
	return &mcp.ToolAnnotations{ReadOnlyHint: e == reads, DestructiveHint: &destructive}
}

// tool adds a tool. Its handler's context ends with the call, with its
// cancellation and with the server; what the handler gives to output, the
// client hears while the call runs.
func tool[In any](s *Server, name, description string, effect effect, handle func(ctx context.Context, in In, output func(string)) (Outcome, error)) {
	made := &mcp.Tool{Name: name, Description: description, Annotations: effect.annotations(), InputSchema: inputSchema[In]()}
	s.mcp.AddTool(made, func(ctx context.Context, request *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, stop := s.bound(ctx)
		defer stop()
		in, err := readInput[In](request.Params.Arguments)
		if err != nil {
			return s.failed(fmt.Errorf("%s: %w", name, err)), nil
		}
		progress := watch(ctx, request)
		defer progress.stop()
		outcome, err := handle(ctx, in, progress.output)
		if err == nil {
			return s.shown(outcome), nil
		}
		if outcome.Text == "" && len(outcome.Images) == 0 {
			return s.failed(err), nil
		}
		// What was shown before the failure helps to understand it.
		result := s.shown(outcome)
		result.IsError = true
		result.Content = append(result.Content, s.text("error: "+err.Error()))
		return result, nil
	})
}

// said is the outcome of what has nothing else to show.
func said(err error, format string, args ...any) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Text: fmt.Sprintf(format, args...)}, nil
}

// text is a part of a result. Clients refuse one without a word in it.
func (s *Server) text(words string, notes ...string) *mcp.TextContent {
	words = strings.ToValidUTF8(words, "\ufffd")
	if len(notes) == 0 && strings.TrimSpace(words) == "" {
		words = "(no output)"
	}
	if len(notes) > 0 && words != "" && !strings.HasSuffix(words, "\n") {
		words += "\n"
	}
	return &mcp.TextContent{Text: clip(words, s.maxText) + strings.Join(notes, "\n")}
}

func (s *Server) failed(err error) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{s.text(err.Error())}, IsError: true}
}

// bitmaps are the pictures that models can look at.
var bitmaps = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

func (s *Server) shown(o Outcome) *mcp.CallToolResult {
	result := &mcp.CallToolResult{IsError: o.Failed}
	images, notes := fitted(slices.DeleteFunc(slices.Clone(o.Images), func(one Image) bool { return !slices.Contains(bitmaps, one.MIME) }))
	if strings.TrimSpace(o.Text) != "" || len(notes) > 0 || len(images) == 0 {
		result.Content = append(result.Content, s.text(o.Text, notes...))
	}
	for _, one := range images {
		result.Content = append(result.Content, &mcp.ImageContent{Data: one.Data, MIMEType: one.MIME})
	}
	return result
}

// clip leaves out the middle of a long text.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	head, tail := text[:limit/2], text[len(text)-limit/2:]
	return strings.ToValidUTF8(head, "") + fmt.Sprintf("\n[... %d bytes left out ...]\n", len(text)-limit) + strings.ToValidUTF8(tail, "")
}
