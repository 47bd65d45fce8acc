package mcpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Function is a function that an agent may call as a tool of its own.
type Function struct {
	Name        string
	Description string
	Input       json.RawMessage // JSON Schema of the object of arguments
}

// Functions are functions that run elsewhere.
type Functions interface {
	Functions() []Function
	// CallFunction takes an object of arguments and returns the result as JSON.
	CallFunction(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error)
}

// maxDescription bounds what a function says about itself, in bytes.
const maxDescription = 16 << 10

func (s *Server) functions(f Functions) {
	names := toolNames{}
	for _, function := range f.Functions() {
		description := strings.ToValidUTF8(function.Description, "\ufffd")
		name := names.of(function.Name)
		if name != function.Name {
			description = fmt.Sprintf("The function %.200s.\n\n%s", function.Name, description)
		}
		tool := &mcp.Tool{Name: name, Description: clip(description, maxDescription), InputSchema: usable(function.Input)}
		s.add(tool, func(ctx context.Context, request *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			ctx, stop := s.bound(ctx)
			defer stop()
			progress := watch(ctx, request)
			defer progress.stop()
			value, err := f.CallFunction(ctx, function.Name, request.Params.Arguments)
			if err != nil {
				return s.failed(err), nil
			}
			return &mcp.CallToolResult{Content: []mcp.Content{s.text(valueText(value))}}, nil
		})
	}
}

// add gives a tool to the SDK, which panics at a schema that it does not take.
// Schemas come from a sandbox: the tool then goes without.
func (s *Server) add(tool *mcp.Tool, handler mcp.ToolHandler) {
	defer func() {
		if recover() != nil {
			tool.InputSchema = json.RawMessage(anything)
			s.mcp.AddTool(tool, handler)
		}
	}()
	s.mcp.AddTool(tool, handler)
}

// valueText is a string as it is, and anything else as JSON: also a string of
// blanks, which clients refuse.
func valueText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && string(value) != "null" && (text == "" || strings.TrimSpace(text) != "") {
		return text
	}
	return string(value)
}
