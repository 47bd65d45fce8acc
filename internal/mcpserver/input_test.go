package mcpserver_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
	"github.com/ajobi-uhc/seer-go/internal/schematest"
)

// drawer is a file system that remembers what was written last.
type drawer struct{ path, data string }

func (d *drawer) ReadFile(context.Context, string) ([]byte, error) { return []byte(d.data), nil }
func (d *drawer) WriteFile(_ context.Context, path string, data []byte) error {
	d.path, d.data = path, string(data)
	return nil
}
func (d *drawer) ListFiles(context.Context, string) ([]fs.FileInfo, error) { return nil, nil }
func (d *drawer) Upload(_ context.Context, source, path string) error {
	d.path, d.data = path, "from "+source
	return nil
}

// sandboxes is a fleet that tells what it was asked.
type sandboxes struct{ asked any }

func (f *sandboxes) ListSandboxes(_ context.Context, query mcpserver.SandboxQuery) ([]mcpserver.SandboxInfo, error) {
	f.asked = query
	return nil, nil
}
func (f *sandboxes) SandboxDetails(context.Context, string) (mcpserver.SandboxDetails, error) {
	return mcpserver.SandboxDetails{}, nil
}
func (f *sandboxes) RunIn(_ context.Context, _ string, command mcpserver.SandboxCommand, _ func(string)) (mcpserver.Outcome, error) {
	f.asked = command
	return mcpserver.Outcome{}, nil
}
func (f *sandboxes) ReadFrom(_ context.Context, _, _ string, offset, _ int64) ([]byte, int64, error) {
	f.asked = offset
	return nil, 0, nil
}
func (f *sandboxes) WriteTo(context.Context, string, string, []byte) error { return nil }
func (f *sandboxes) SnapshotOf(context.Context, string, string) (any, error) {
	return nil, nil
}
func (f *sandboxes) TerminateSandbox(context.Context, string) error { return nil }

// Arguments as agents send them: null for what they leave out, numbers as
// texts. What does not fit is refused with its name, and never reaches a tool.
func TestArgumentsOfTools(t *testing.T) {
	files, fleet, notebook := &drawer{}, &sandboxes{}, &shellNotebook{}
	sessions := map[string]*mcp.ClientSession{
		"files":    connect(t, mcpserver.Tools{Files: files}, nil),
		"fleet":    connect(t, mcpserver.Tools{Fleet: fleet}, nil),
		"notebook": connect(t, mcpserver.Tools{Notebook: notebook}, nil),
	}
	for _, test := range []struct{ session, tool, arguments, says string }{
		{"files", "list_files", `{"path":null}`, "(empty)"},
		{"files", "list_files", `{}`, "(empty)"},
		{"files", "read_file", `{"path":null}`, "read_file: argument path: expected a string, got null"},
		{"files", "read_file", `{"path":5}`, "read_file: argument path: expected a string, got 5"},
		{"files", "read_file", `{"path":["a"]}`, "read_file: argument path: expected a string, got a list"},
		{"files", "read_file", `{}`, "read_file: missing argument path"},
		{"files", "read_file", `{"file":"x","path":"y"}`, `read_file: unknown argument "file"; it takes path`},
		{"files", "write_file", `{}`, "write_file: missing argument path, content"},
		{"files", "write_file", `{"path":"a","content":""}`, "Wrote 0 bytes."},
		{"files", "upload_file", `{"path":"a","data":""}`, "Wrote 0 bytes."},
		{"files", "upload_file", `{"path":"a","data":"","source":null}`, "Wrote 0 bytes."},
		{"files", "upload_file", `{"path":"a","data":"","source":""}`, "Wrote 0 bytes."},
		{"files", "upload_file", `{"path":"a","data":"eA==","source":""}`, "Wrote 1 bytes."},
		{"files", "upload_file", `{"path":"a","data":"","source":"b"}`, "Uploaded."},
		{"files", "upload_file", `{"path":"a","data":null,"source":"b"}`, "Uploaded."},
		{"files", "upload_file", `{"path":"a","data":"eA==","source":"b"}`, "upload: give either data or source"},
		{"files", "upload_file", `{"path":"a","data":null}`, "upload: give data or source"},
		{"files", "upload_file", `{"path":"a","data":"?"}`, "upload: data is not base64: illegal base64 data at input byte 0"},
		{"notebook", "read_notebook", `{"skip_outputs":null}`, "The notebook is empty."},
		{"notebook", "read_notebook", `{"skip_outputs":"false"}`, "The notebook is empty."},
		{"notebook", "read_notebook", `{"skip_outputs":"perhaps"}`, `read_notebook: argument skip_outputs: expected true or false, got the string "perhaps"`},
		{"notebook", "read_notebook", `{"skip_outputs":[]}`, "read_notebook: argument skip_outputs: expected true or false, got a list"},
		{"fleet", "list_sandboxes", `{"program":null,"tags":null}`, "None is running."},
		{"fleet", "list_sandboxes", `{"tags":{"a":"b"}}`, "None is running."},
		{"fleet", "list_sandboxes", `{"tags":"{\"a\":\"b\"}"}`, "None is running."},
		{"fleet", "list_sandboxes", `{"tags":{"a":1}}`, `list_sandboxes: argument tags: ["a"]: expected a string, got 1`},
		{"fleet", "list_sandboxes", `{"tags":["a"]}`, "list_sandboxes: argument tags: expected an object, got a list"},
		{"fleet", "run_command", `{"sandbox":"s","command":"c","timeout_seconds":"abc"}`, `run_command: argument timeout_seconds: expected an integer, got the string "abc"`},
		{"fleet", "run_command", `{"sandbox":"s","command":"c","timeout_seconds":1.5}`, "run_command: argument timeout_seconds: expected an integer, got 1.5"},
		{"fleet", "run_command", `{"sandbox":"s","command":"c","timeout_seconds":1e99}`, "run_command: argument timeout_seconds: expected an integer of at most 64 bits, got 1e99"},
		{"fleet", "run_command", `{"sandbox":"s","command":"c","timeout_seconds":true}`, "run_command: argument timeout_seconds: expected an integer, got true"},
		{"fleet", "run_command", `{"sandbox":"s","command":"c","timeout_seconds":"7","dir":null}`, "(no output)"},
		{"fleet", "read_file", `{"sandbox":"s","path":"/f","offset":"9223372036854775808"}`, `read_file: argument offset: expected an integer of at most 64 bits, got the string "9223372036854775808"`},
		{"fleet", "read_file", `{"sandbox":"s","path":"/f","offset":0.0}`, "(empty)"},
	} {
		said, failed := call(t, sessions[test.session], test.tool, json.RawMessage(test.arguments))
		assert.Equal(t, test.says, said, test.arguments)
		assert.Equal(t, strings.Contains(said, "argument") || strings.HasPrefix(said, "upload: "), failed, test.arguments)
	}
	_, _ = call(t, sessions["fleet"], "run_command", json.RawMessage(`{"sandbox":"s","command":"c","timeout_seconds":"7"}`))
	assert.Equal(t, mcpserver.SandboxCommand{Command: "c", Timeout: 7 * time.Second}, fleet.asked)
	_, _ = call(t, sessions["fleet"], "list_sandboxes", json.RawMessage(`{"tags":"{\"a\":\"b\"}"}`))
	assert.Equal(t, mcpserver.SandboxQuery{Tags: map[string]string{"a": "b"}}, fleet.asked)
}

// Every tool has a name and a schema that strict clients take.
func TestSchemasOfTools(t *testing.T) {
	check := schematest.New(t)
	for name, tools := range map[string]mcpserver.Tools{
		"notebook": {Notebook: &shellNotebook{}}, "python": {Python: gallery{}}, "files": {Files: &drawer{}}, "fleet": {Fleet: &sandboxes{}},
	} {
		for tool, err := range connect(t, tools, nil).Tools(t.Context(), nil) {
			require.NoError(t, err)
			require.NoError(t, check.Tool(tool.Name, tool.InputSchema), name)
			schema, ok := tool.InputSchema.(map[string]any)
			require.True(t, ok, name)
			assert.Equal(t, false, schema["additionalProperties"])
			required, _ := schema["required"].([]any)
			for _, one := range required {
				assert.Contains(t, schema["properties"], one)
			}
		}
	}
}
