package jupyter_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

const foreign = `{"nbformat": 4, "nbformat_minor": 2, "metadata": {"title": "t", "kernelspec": {"name": "ir", "display_name": "R"}},
"cells": [
 {"cell_type": "markdown", "metadata": {"tags": ["a"]}, "source": ["one\n", "two"], "attachments": {"i.png": {"image/png": "eA=="}}},
 {"cell_type": "raw", "id": "same", "metadata": {}, "source": "raw"},
 {"cell_type": "code", "id": "same", "metadata": {}, "execution_count": 3, "source": "x", "outputs": [
  {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]},
  {"output_type": "execute_result", "execution_count": 3, "metadata": {}, "data": {"text/plain": ["l1\n", "l2"]}},
  {"output_type": "display_data", "metadata": {"w": 1}, "data": {"application/json": {"k": 1}}},
  {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}]}
]}`

func TestParseForeignNotebook(t *testing.T) {
	notebook, err := jupyter.ParseNotebook([]byte(foreign))
	require.NoError(t, err)
	cells := notebook.Cells()
	require.Len(t, cells, 3)
	assert.Equal(t, "one\ntwo", cells[0].Source)
	assert.Equal(t, "same", cells[1].ID)
	assert.NotEqual(t, "same", cells[2].ID, "ids become unique")
	assert.NotEmpty(t, cells[0].ID)
	assert.Equal(t, "a\nb\nl1\nl2\n{\"k\": 1}\nE: v", jupyter.OutputsText(cells[2].Outputs))

	encoded := string(notebook.Encode())
	assert.Contains(t, encoded, `"tags": ["a"]`)
	assert.Contains(t, encoded, `"attachments"`)
	assert.Contains(t, encoded, `"title": "t"`)
}

func TestParseRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"no JSON":             `x`,
		"an old format":       `{"nbformat": 3, "worksheets": []}`,
		"an unknown cell":     `{"nbformat": 4, "cells": [{"cell_type": "chart", "source": ""}]}`,
		"an unknown output":   `{"nbformat": 4, "cells": [{"cell_type": "code", "source": "", "outputs": [{"output_type": "smell"}]}]}`,
		"a number for source": `{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jupyter.ParseNotebook([]byte(data))
			require.ErrorContains(t, err, "parse notebook: ")
		})
	}
}

func TestNotebookUnknownCell(t *testing.T) {
	notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
	require.NoError(t, err)
	require.ErrorContains(t, notebook.SetSource("none", ""), `no cell "none"`)
	_, ok := notebook.Cell("none")
	assert.False(t, ok)
}

// TestACellThatRunsAgain shows what its latest run shows, also when an earlier
// one has not ended or left a thread behind.
func TestACellThatRunsAgain(t *testing.T) {
	notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
	require.NoError(t, err)
	id := notebook.AddCode("x")
	first, err := notebook.Begin(id)
	require.NoError(t, err)
	display := jupyter.Output{Type: jupyter.OutputDisplay, DisplayID: "d", Data: jupyter.MIMEBundle{"text/plain": json.RawMessage(`"old"`)}}
	first.Add(display)
	second, err := notebook.Begin(id)
	require.NoError(t, err)
	second.Add(display)
	first.Add(jupyter.Output{Type: jupyter.OutputStream, Name: jupyter.Stdout, Text: "late"})
	first.Add(jupyter.Output{Type: jupyter.OutputClear})
	first.Finish(7)
	first.Add(jupyter.Output{Type: jupyter.OutputUpdateDisplay, DisplayID: "d", Data: jupyter.MIMEBundle{"text/plain": json.RawMessage(`"new"`)}})
	cell, _ := notebook.Cell(id)
	assert.Equal(t, "new", jupyter.OutputsText(cell.Outputs), "a display is updated whoever does it")
	assert.Zero(t, cell.ExecutionCount)
	second.Finish(8)
	cell, _ = notebook.Cell(id)
	assert.Equal(t, 8, cell.ExecutionCount)
	_, err = notebook.Begin("none")
	require.ErrorContains(t, err, `no cell "none"`)
}

// TestNotebookGrowsByChunks encodes after every chunk, wherever a chunk may
// end, and compares with the text put in at once.
func TestNotebookGrowsByChunks(t *testing.T) {
	const text = "one\ntwo \"quoted\"\n\n\r50%\rünï\n<&>end"
	notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
	require.NoError(t, err)
	began, err := notebook.Begin(notebook.AddCode("x"))
	require.NoError(t, err)
	for _, r := range text {
		began.Add(jupyter.Output{Type: jupyter.OutputStream, Name: jupyter.Stdout, Text: string(r)})
		require.True(t, json.Valid(notebook.Encode()))
	}
	parsed, err := jupyter.ParseNotebook(notebook.Encode())
	require.NoError(t, err)
	outputs := parsed.Cells()[0].Outputs
	require.Len(t, outputs, 1)
	assert.Equal(t, text, outputs[0].Text)
	assert.Contains(t, string(notebook.Encode()), `"<&>end"`)
}

func FuzzParseNotebook(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte(`{"nbformat": 4, "cells": [], "metadata": null}`))
	f.Add([]byte(`{"nbformat":4,"cells":[{"cell_type":"code","id":"a","source":null,"outputs":[{"output_type":"error"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		notebook, err := jupyter.ParseNotebook(data)
		if err != nil {
			return
		}
		encoded := notebook.Encode()
		require.True(t, json.Valid(encoded), "%s", encoded)
		again, err := jupyter.ParseNotebook(encoded)
		require.NoError(t, err)
		assert.Equal(t, string(encoded), string(again.Encode()))
	})
}

func TestSaver(t *testing.T) {
	newNotebook := func(t *testing.T) (*jupyter.Notebook, string) {
		notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
		require.NoError(t, err)
		return notebook, notebook.AddCode("x")
	}

	t.Run("a change is saved by itself", func(t *testing.T) {
		notebook, id := newNotebook(t)
		saved := make(chan string, 100)
		saver := jupyter.NewSaver(notebook, func(_ context.Context, data []byte) error {
			saved <- string(data)
			return nil
		}, nil)
		assert.NotContains(t, <-saved, "changed")
		require.NoError(t, notebook.SetSource(id, "changed"))
		assert.Contains(t, <-saved, "changed")
		require.NoError(t, saver.Close(within(t)))
		require.NoError(t, saver.Close(within(t)))
		assert.Empty(t, saved, "nothing is saved twice")
	})

	t.Run("one in flight, and the latest wins", func(t *testing.T) {
		notebook, id := newNotebook(t)
		begun, goOn := make(chan struct{}), make(chan struct{})
		var saves []string
		saver := jupyter.NewSaver(notebook, func(_ context.Context, data []byte) error {
			if len(saves) == 0 {
				close(begun)
				<-goOn
			}
			saves = append(saves, string(data))
			return nil
		}, nil)
		<-begun
		began, err := notebook.Begin(id)
		require.NoError(t, err)
		for range 1000 {
			began.Add(jupyter.Output{Type: jupyter.OutputStream, Name: "stdout", Text: "chunk\n"})
		}
		close(goOn)
		require.NoError(t, saver.Close(within(t)))
		require.NotEmpty(t, saves)
		assert.Less(t, len(saves), 10)
		assert.Equal(t, 1000, strings.Count(saves[len(saves)-1], "chunk"))
	})

	t.Run("errors are told and tried again", func(t *testing.T) {
		notebook, _ := newNotebook(t)
		full := errors.New("disk full")
		failures := 2
		told := make(chan error, 10)
		saved := make(chan struct{})
		saver := jupyter.NewSaver(notebook, func(context.Context, []byte) error {
			if failures--; failures >= 0 {
				return full
			}
			close(saved)
			return nil
		}, &jupyter.SaverOptions{OnError: func(err error) { told <- err }})
		<-saved
		require.NoError(t, saver.Close(within(t)))
		require.ErrorIs(t, <-told, full)
		require.ErrorIs(t, <-told, full)
	})

	t.Run("Close tells that the last save failed", func(t *testing.T) {
		notebook, _ := newNotebook(t)
		full := errors.New("disk full")
		saver := jupyter.NewSaver(notebook, func(context.Context, []byte) error { return full }, nil)
		require.ErrorIs(t, saver.Close(within(t)), full)
	})

	t.Run("Close gives up a save that hangs", func(t *testing.T) {
		notebook, _ := newNotebook(t)
		saver := jupyter.NewSaver(notebook, func(ctx context.Context, _ []byte) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, saver.Close(ctx), context.Canceled)
	})
}
