package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"

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

func (s *Server) functions(f Functions) {
	for _, function := range f.Functions() {
		tool := &mcp.Tool{Name: function.Name, Description: function.Description, InputSchema: inputSchema(function.Input)}
		s.mcp.AddTool(tool, func(ctx context.Context, request *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			ctx, stop := s.bound(ctx)
			defer stop()
			progress := watch(ctx, request)
			defer progress.stop()
			value, err := f.CallFunction(ctx, function.Name, request.Params.Arguments)
			if err != nil {
				result := text(err.Error())
				result.IsError = true
				return result, nil
			}
			return text(valueText(value)), nil
		})
	}
}

// inputSchema is a schema that the SDK takes: it panics at one that is not of
// an object, or that annotates parameters with headers in a way it forbids.
func inputSchema(schema json.RawMessage) any {
	var object struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(schema, &object) != nil || object.Type != "object" || bytes.Contains(schema, []byte(`"x-mcp-header"`)) {
		return json.RawMessage(`{"type":"object"}`)
	}
	return schema
}

// valueText is a string as it is, and anything else as JSON.
func valueText(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil && string(value) != "null" {
		return text
	}
	return string(value)
}
