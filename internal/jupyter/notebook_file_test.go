package jupyter_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

// validate checks a file with the format's own validator.
const validate = `
import json, sys, nbformat
with open(sys.argv[1]) as f:
    nbformat.validate(json.load(f), relax_add_props=False)
nbformat.read(sys.argv[1], as_version=4)
`

// testNotebookFile keeps the notebook of a session on disk, as a session does.
func testNotebookFile(t *testing.T, server *jupyter.Server) {
	kernel := start(t, server)
	path := filepath.Join(t.TempDir(), "session.ipynb")
	notebook, err := jupyter.NewNotebook(jupyter.KernelSpec{})
	require.NoError(t, err)
	saver := jupyter.NewSaver(notebook, func(_ context.Context, data []byte) error {
		return os.WriteFile(path, data, 0o600)
	}, nil)

	execute := func(id string) {
		cell, ok := notebook.Cell(id)
		require.True(t, ok)
		began, err := notebook.Begin(id)
		require.NoError(t, err)
		result, err := kernel.Execute(within(t), cell.Source, &jupyter.ExecuteOptions{Outputs: began})
		var exception *jupyter.KernelError
		if !errors.As(err, &exception) {
			require.NoError(t, err)
		}
		began.Finish(result.ExecutionCount)
		shown, _ := notebook.Cell(id)
		assert.Equal(t, result.Outputs, shown.Outputs)
	}

	notebook.AddMarkdown("# Title\n\nwith \"quotes\", ünïcode and </script>")
	var ids []string
	for _, source := range []string{
		"import sys\nfor i in range(3):\n    print(i, flush=True)\nprint('e', file=sys.stderr)\n{'a': [1]}",
		"1/0",
		"from IPython.display import *\nhandle = display(HTML('<b>x</b>'), display_id=True)\ndisplay(JSON({'k': [1, None]}), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'))",
		"handle.update(HTML('<i>changed later</i>'))",
		"for mime in 'text/plain', 'application/vnd.a.json', 'model/a+json', 'application/vnd.a+json':\n" +
			"    for form in 5, None, {'k': 1}, ['a', None], ['a', 'b'], 'text':\n        display({mime: form}, raw=True)",
		"",
	} {
		id := notebook.AddCode(source)
		ids = append(ids, id)
		execute(id)
	}
	require.NoError(t, notebook.SetSource(ids[1], "print('corrected')"))
	execute(ids[1])
	require.NoError(t, saver.Close(within(t)))

	check(t, path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(data), "changed later")
	assert.NotContains(t, string(data), "ZeroDivisionError")

	resumed, err := jupyter.ParseNotebook(data)
	require.NoError(t, err)
	assert.Equal(t, string(data), string(resumed.Encode()))
}

func check(t *testing.T, path string) {
	t.Helper()
	out, err := exec.CommandContext(within(t), jupytertest.Python(t), "-c", validate, path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
