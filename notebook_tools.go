package seer

import (
	"context"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// notebookTools are the tools of an agent as the MCP server wants them.
type notebookTools struct{ notebook *notebook }

func (t notebookTools) ExecuteCell(ctx context.Context, source string, output func(string)) (mcpserver.Cell, error) {
	id := t.notebook.doc.AddCode(source)
	return t.run(ctx, id, output)
}

func (t notebookTools) run(ctx context.Context, id string, output func(string)) (mcpserver.Cell, error) {
	shown, err := outcome(t.notebook.run(ctx, id, output))
	cell := t.show(id)
	cell.Outcome = shown
	return cell, err
}

func (t notebookTools) AddMarkdown(_ context.Context, source string) (mcpserver.Cell, error) {
	cell, err := t.notebook.AddMarkdown(source)
	return t.show(cell.ID), err
}

func (t notebookTools) EditCell(ctx context.Context, id, source string, run bool, output func(string)) (mcpserver.Cell, error) {
	cell, err := t.notebook.edit(id, source)
	if err != nil {
		return mcpserver.Cell{}, err
	}
	if !run || cell.Kind != CellCode {
		return t.show(id), nil
	}
	return t.run(ctx, id, output)
}

func (t notebookTools) Interrupt(ctx context.Context) error { return t.notebook.Interrupt(ctx) }

func (t notebookTools) Restart(ctx context.Context) error { return t.notebook.Restart(ctx) }

func (t notebookTools) Cells(context.Context) ([]mcpserver.Cell, error) {
	var cells []mcpserver.Cell
	for _, cell := range t.notebook.doc.Cells() {
		cells = append(cells, t.show(cell.ID))
	}
	return cells, nil
}

func (t notebookTools) show(id string) mcpserver.Cell {
	c, _ := t.notebook.doc.Cell(id) // cells are never removed
	cell := fromCell(c)
	result := &Result{Outputs: cell.Outputs}
	shown, _ := outcome(result, nil)
	shown.Failed = result.Err() != nil
	return mcpserver.Cell{ID: cell.ID, Kind: string(cell.Kind), Source: cell.Source, Outcome: shown}
}
