package mcpserver

import (
	"context"
	"fmt"
	"strings"
)

type nothing struct{}

type codeInput struct {
	Code string `json:"code" jsonschema:"Python code"`
}

type markdownInput struct {
	Source string `json:"source" jsonschema:"Markdown"`
}

type editInput struct {
	Cell   string `json:"cell" jsonschema:"ID of the cell, as read_notebook shows it"`
	Source string `json:"source" jsonschema:"the new source"`
	Run    bool   `json:"run,omitempty" jsonschema:"execute the cell after the change"`
}

type readNotebookInput struct {
	SkipOutputs bool `json:"skip_outputs,omitempty" jsonschema:"show sources only"`
}

func (s *Server) notebook(n Notebook) {
	tool(s, "execute_code", "Execute Python code in a new cell of the notebook. Variables stay for later cells. Returns what the cell shows, images included.", destroys,
		func(ctx context.Context, in codeInput, output func(string)) (Outcome, error) {
			cell, err := n.ExecuteCell(ctx, in.Code, output)
			return cell.Outcome, err
		})
	tool(s, "add_markdown", "Add a Markdown cell to the end of the notebook.", adds,
		func(ctx context.Context, in markdownInput, _ func(string)) (Outcome, error) {
			cell, err := n.AddMarkdown(ctx, in.Source)
			return said(err, "Added cell %s.", cell.ID)
		})
	tool(s, "edit_cell", "Replace the source of a cell and, if asked, execute it again in its place.", destroys,
		func(ctx context.Context, in editInput, output func(string)) (Outcome, error) {
			cell, err := n.EditCell(ctx, in.Cell, in.Source, in.Run, output)
			if !in.Run {
				return said(err, "Changed cell %s.", cell.ID)
			}
			return cell.Outcome, err
		})
	tool(s, "read_notebook", "Show the cells of the notebook: IDs, sources and outputs.", reads,
		func(ctx context.Context, in readNotebookInput, _ func(string)) (Outcome, error) {
			cells, err := n.Cells(ctx)
			if err != nil {
				return Outcome{}, err
			}
			return Outcome{Text: cellsText(cells, in.SkipOutputs)}, nil
		})
	s.control(n, "kernel")
}

type controlled interface {
	Interrupt(ctx context.Context) error
	Restart(ctx context.Context) error
}

func (s *Server) control(c controlled, what string) {
	tool(s, "interrupt", "Interrupt the code that the "+what+" is running, as Ctrl-C does. Variables stay.", destroys,
		func(ctx context.Context, _ nothing, _ func(string)) (Outcome, error) {
			return said(c.Interrupt(ctx), "Interrupted.")
		})
	tool(s, "restart", "Restart the "+what+". All variables are lost.", destroys,
		func(ctx context.Context, _ nothing, _ func(string)) (Outcome, error) {
			return said(c.Restart(ctx), "Restarted.")
		})
}

func cellsText(cells []Cell, skipOutputs bool) string {
	if len(cells) == 0 {
		return "The notebook is empty."
	}
	var b strings.Builder
	for _, cell := range cells {
		fmt.Fprintf(&b, "--- %s (%s)\n%s\n", cell.ID, cell.Kind, strings.TrimRight(cell.Source, "\n"))
		if skipOutputs || cell.Kind != "code" {
			continue
		}
		if shown := strings.TrimRight(cell.Text, "\n"); shown != "" {
			b.WriteString("--- output\n" + clip(shown, maxCellText) + "\n")
		}
		if len(cell.Images) > 0 {
			fmt.Fprintf(&b, "--- %d image(s)\n", len(cell.Images))
		}
	}
	return b.String()
}
