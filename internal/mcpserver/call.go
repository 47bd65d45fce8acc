package mcpserver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// maxText bounds the text of a result, in bytes: an agent has to read it.
	maxText = 100_000
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
	mcp.AddTool(s.mcp, &mcp.Tool{Name: name, Description: description, Annotations: effect.annotations()}, func(ctx context.Context, request *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		ctx, stop := s.bound(ctx)
		defer stop()
		progress := watch(ctx, request)
		defer progress.stop()
		outcome, err := handle(ctx, in, progress.output)
		if err == nil {
			return shown(outcome), nil, nil
		}
		if outcome.Text == "" && len(outcome.Images) == 0 {
			return nil, nil, err
		}
		// What was shown before the failure helps to understand it.
		result := shown(outcome)
		result.IsError = true
		result.Content = append(result.Content, &mcp.TextContent{Text: "error: " + err.Error()})
		return result, nil, nil
	})
}

// said is the outcome of what has nothing else to show.
func said(err error, format string, args ...any) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Text: fmt.Sprintf(format, args...)}, nil
}

func text(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: clip(text, maxText)}}}
}

// bitmaps are the pictures that models can look at.
var bitmaps = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

func shown(o Outcome) *mcp.CallToolResult {
	result := &mcp.CallToolResult{IsError: o.Failed}
	for _, image := range o.Images {
		if slices.Contains(bitmaps, image.MIME) {
			result.Content = append(result.Content, &mcp.ImageContent{Data: image.Data, MIMEType: image.MIME})
		}
	}
	words := strings.ToValidUTF8(o.Text, "\ufffd")
	if words == "" && len(result.Content) == 0 {
		words = "(no output)"
	}
	if words != "" {
		result.Content = slices.Insert(result.Content, 0, mcp.Content(&mcp.TextContent{Text: clip(words, maxText)}))
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
