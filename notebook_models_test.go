package seer_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
)

// The models come from a hub and are loaded by the same code as everywhere;
// light stand-ins take the place of torch and transformers.
func TestModelsInSessions(t *testing.T) {
	t.Parallel()
	w := newHubWorld(t)
	for _, id := range []string{"acme-labs/Sparrow-7B", "quokka-org/Wren-2B"} {
		w.Add(hubtest.Model{ID: id, Files: modelFiles(id)})
	}
	sandbox := startOn(t, w.server, seer.SandboxConfig{
		ExecutionMode: seer.ModeNotebook,
		Models:        []seer.ModelConfig{{Name: "acme-labs/Sparrow-7B"}, {Name: "quokka-org/Wren-2B", VarName: "subject", Hidden: true}},
		LocalDirs:     []seer.Mount{{Source: "testdata/standins", Target: "/opt/standins"}},
		Env:           map[string]string{"PYTHONPATH": "/opt/standins"},
	}, w.env())
	path := sandbox.ModelHandles()[0].Path
	loaded := "Models, loaded and ready to use:\n" +
		"- variables model and tokenizer: acme-labs/Sparrow-7B, in " + path + "\n" +
		"- variables subject and subject_tokenizer: a model whose identity is hidden\n"
	const look = "len(model.weights), tokenizer, len(subject.weights), subject_tokenizer"
	const seen = "(32000, None, 32000, None)"

	t.Run("are in the kernel before the agent arrives", func(t *testing.T) {
		session := startNotebook(t, sandbox, &seer.Workspace{CustomInitCode: "first = model.path"}, seer.NotebookOptions{})
		assert.Equal(t, loaded, session.ModelInfoText())
		assert.Empty(t, session.Cells(), "nothing shows how they were loaded")
		assert.Equal(t, fmt.Sprintf("%q", path), strings.ReplaceAll(text(t, session, "first"), "'", `"`))
		assert.Equal(t, seen, text(t, session, look))
		require.NoError(t, session.Restart(t.Context()))
		assert.Equal(t, seen, text(t, session, look), "they are again after a restart")
	})
	t.Run("are loaded in sight", func(t *testing.T) {
		session := startNotebook(t, sandbox, &seer.Workspace{ShowModelLoading: true}, seer.NotebookOptions{})
		require.Len(t, session.Cells(), 1)
		assert.Contains(t, session.Cells()[0].Source, "from_pretrained")
		assert.Equal(t, seen, text(t, session, look))
	})

	// An agent that was left to load them follows what it was told.
	instruction := regexp.MustCompile(`: (exec\(.*\))\n`)
	follow := func(t *testing.T, session seer.Session) {
		t.Helper()
		assert.NotContains(t, session.ModelInfoText(), "ready to use")
		assert.NotContains(t, strings.ToLower(session.ModelInfoText()), "wren")
		_, err := session.Exec(t.Context(), "model")
		require.ErrorContains(t, err, "NameError")
		code := instruction.FindStringSubmatch(session.ModelInfoText())
		require.NotNil(t, code, session.ModelInfoText())
		_, err = session.Exec(t.Context(), code[1])
		require.NoError(t, err)
		assert.Equal(t, seen, text(t, session, look))
	}
	t.Run("are left to the agent of a notebook", func(t *testing.T) {
		follow(t, startNotebook(t, sandbox, &seer.Workspace{SkipModelPreload: true}, seer.NotebookOptions{}))
	})
	t.Run("are left to the agent of a shell", func(t *testing.T) {
		follow(t, startCLI(t, sandbox, nil, nil))
	})
	t.Run("cannot be loaded", func(t *testing.T) {
		_, err := sandbox.Exec(t.Context(), "rm /opt/standins/torch.py")
		require.NoError(t, err)
		_, err = seer.NewNotebookSession(t.Context(), sandbox, nil, &seer.NotebookOptions{OutputDir: t.TempDir()})
		require.ErrorContains(t, err, "No module named 'torch'; list what loads them in PythonPackages, or set SkipModelPreload")
	})
}
