package mcpserver_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// shellNotebook is a notebook whose cells are commands of a shell.
type shellNotebook struct {
	mu          sync.Mutex
	cells       []mcpserver.Cell
	interrupted int
	restarted   int
}

func (n *shellNotebook) add(kind, source string) *mcpserver.Cell {
	n.cells = append(n.cells, mcpserver.Cell{ID: fmt.Sprintf("cell-%d", len(n.cells)+1), Kind: kind, Source: source})
	return &n.cells[len(n.cells)-1]
}

func run(ctx context.Context, cell *mcpserver.Cell, output func(string)) error {
	out, err := exec.CommandContext(ctx, "sh", "-c", cell.Source).CombinedOutput()
	output(string(out))
	cell.Outcome = mcpserver.Outcome{Text: string(out)}
	if strings.Contains(cell.Source, "picture") {
		cell.Images = []mcpserver.Image{{MIME: "image/svg+xml", Data: []byte("<svg/>")}, {MIME: "image/png", Data: picture(3, 2)}}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		cell.Failed, err = true, nil
	}
	return err
}

func (n *shellNotebook) ExecuteCell(ctx context.Context, source string, output func(string)) (mcpserver.Cell, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cell := n.add("code", source)
	err := run(ctx, cell, output)
	return *cell, err
}

func (n *shellNotebook) AddMarkdown(_ context.Context, source string) (mcpserver.Cell, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.add("markdown", source), nil
}

func (n *shellNotebook) EditCell(ctx context.Context, id, source string, again bool, output func(string)) (mcpserver.Cell, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.cells {
		if cell := &n.cells[i]; cell.ID == id {
			cell.Source = source
			if !again {
				return *cell, nil
			}
			err := run(ctx, cell, output)
			return *cell, err
		}
	}
	return mcpserver.Cell{}, fmt.Errorf("edit cell %s: not found", id)
}

func (n *shellNotebook) Interrupt(context.Context) error { n.interrupted++; return nil }

func (n *shellNotebook) Restart(context.Context) error {
	n.restarted++
	return errors.New("no kernel left")
}

func (n *shellNotebook) Cells(context.Context) ([]mcpserver.Cell, error) { return n.cells, nil }

func TestNotebookTools(t *testing.T) {
	notebook := &shellNotebook{}
	session := connect(t, mcpserver.Tools{Notebook: notebook}, nil)
	assert.Equal(t, "Be careful.", session.InitializeResult().Instructions)

	var names []string
	for tool, err := range session.Tools(t.Context(), nil) {
		require.NoError(t, err)
		names = append(names, tool.Name)
	}
	assert.ElementsMatch(t, []string{"execute_code", "add_markdown", "edit_cell", "read_notebook", "interrupt", "restart"}, names)

	text, failed := call(t, session, "read_notebook", nil)
	assert.Equal(t, "The notebook is empty.", text)
	assert.False(t, failed)

	text, failed = call(t, session, "execute_code", map[string]any{"code": "echo hello"})
	assert.Equal(t, "hello\n", text)
	assert.False(t, failed)
	text, failed = call(t, session, "execute_code", map[string]any{"code": "echo broken; exit 1"})
	assert.Equal(t, "broken\n", text)
	assert.True(t, failed)
	text, _ = call(t, session, "add_markdown", map[string]any{"source": "# Title"})
	assert.Equal(t, "Added cell cell-3.", text)
	text, _ = call(t, session, "edit_cell", map[string]any{"cell": "cell-3", "source": "# New"})
	assert.Equal(t, "Changed cell cell-3.", text)
	text, _ = call(t, session, "edit_cell", map[string]any{"cell": "cell-1", "source": "echo hello; echo again", "run": true})
	assert.Equal(t, "hello\nagain\n", text)
	text, failed = call(t, session, "edit_cell", map[string]any{"cell": "cell-9", "source": "x"})
	assert.Equal(t, "edit cell cell-9: not found", text)
	assert.True(t, failed)

	result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "execute_code", Arguments: map[string]any{"code": "echo picture"}})
	require.NoError(t, err)
	require.Len(t, result.Content, 2, "drawings are nothing that a model can look at")
	assert.IsType(t, &mcp.TextContent{}, result.Content[0])
	assert.Equal(t, &mcp.ImageContent{MIMEType: "image/png", Data: picture(3, 2)}, result.Content[1])

	text, _ = call(t, session, "read_notebook", nil)
	assert.Equal(t, "--- cell-1 (code)\necho hello; echo again\n--- output\nhello\nagain\n--- cell-2 (code)\necho broken; exit 1\n--- output\nbroken\n"+
		"--- cell-3 (markdown)\n# New\n--- cell-4 (code)\necho picture\n--- output\npicture\n--- 2 image(s)\n", text)
	text, _ = call(t, session, "read_notebook", map[string]any{"skip_outputs": true})
	assert.NotContains(t, text, "--- output")

	text, _ = call(t, session, "interrupt", nil)
	assert.Equal(t, "Interrupted.", text)
	assert.Equal(t, 1, notebook.interrupted)
	text, failed = call(t, session, "restart", nil)
	assert.Equal(t, "no kernel left", text)
	assert.True(t, failed)
}

func TestInvalidArgumentsNeverReachTheTool(t *testing.T) {
	notebook := &shellNotebook{}
	session := connect(t, mcpserver.Tools{Notebook: notebook}, nil)
	for _, arguments := range []any{nil, map[string]any{"code": 1}, map[string]any{"code": "true", "unknown": 1}} {
		result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "execute_code", Arguments: arguments})
		assert.True(t, err != nil || result.IsError, "%v", arguments)
	}
	assert.Empty(t, notebook.cells)
}
