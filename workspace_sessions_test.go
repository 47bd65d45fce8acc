package seer_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// useEverything is what an agent does with all that fullWorkspace brings.
const useEverything = `
import os, tools, shapes.round, steering_hook
assert tools.count("abc") == 3
assert shapes.round.circle() == "o" and shapes.circle() == "o"
assert open(os.path.join(os.path.dirname(shapes.__file__), "data", "names.txt")).read() == "a name"
assert steering_hook.steer() == "left"
assert os.environ["TOOLS_KEY"] == "k3y"
for home in "skills", ".claude/skills":
    assert "When counting." in open(f"{home}/counting/SKILL.md").read()
    assert open(f"{home}/steering-hook/code.py").read().startswith("def steer")
assert open("data/deep/a.txt").read() == "A"
assert open("notes/note.txt").read() == "note"
assert begun == 3
print("all there")`

// fullWorkspace has a library of each source, skills of both, files, a
// directory and init code.
func fullWorkspace(t *testing.T) *seer.Workspace {
	t.Helper()
	dir := write(t, map[string]string{
		"tools.py":               "\"\"\"Counts things.\"\"\"\ndef count(x): return len(x)\n",
		"shapes/__init__.py":     "from .round import circle\n",
		"shapes/round.py":        "def circle(): return 'o'\n",
		"shapes/data/names.txt":  "a name",
		"steering-hook/SKILL.md": "---\nname: steering-hook\ndescription: x\n---\n\n# Steering",
		"steering-hook/code.py":  "def steer(): return 'left'\n",
		"data/deep/a.txt":        "A",
		"note.txt":               "note",
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	tools, err := seer.LibraryFromFile(in("tools.py"))
	require.NoError(t, err)
	tools.Env = map[string]string{"TOOLS_KEY": "k3y"}
	shapes, err := seer.LibraryFromDir(in("shapes"))
	require.NoError(t, err)
	steering, err := seer.LibraryFromSkillDir(in("steering-hook"))
	require.NoError(t, err)
	return &seer.Workspace{
		LocalDirs:      []seer.Mount{{Source: in("data"), Target: "/workspace/data"}},
		LocalFiles:     []seer.Mount{{Source: in("note.txt"), Target: "notes/note.txt"}},
		Libraries:      []seer.Library{tools, shapes, steering},
		Skills:         []seer.Skill{seer.SkillFromSource("counting", "When counting.", "import tools")},
		SkillDirs:      []string{in("steering-hook")},
		CustomInitCode: "import tools\nbegun = tools.count('abc')",
	}
}

// TestAWorkspaceOnEverySession uses all that a workspace brings, when it is
// there from the beginning, after a restart, and when it is added later.
func TestAWorkspaceOnEverySession(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	type restartable interface {
		seer.Session
		Restart(ctx context.Context) error
	}
	sandbox := func(t *testing.T) *seer.Sandbox {
		return startOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
	}
	for name, start := range map[string]func(*testing.T, *seer.Workspace) (restartable, error){
		"notebook": func(t *testing.T, w *seer.Workspace) (restartable, error) {
			return seer.NewNotebookSession(within(t, patience), sandbox(t), w, &seer.NotebookOptions{OutputDir: t.TempDir()})
		},
		"CLI": func(t *testing.T, w *seer.Workspace) (restartable, error) {
			return seer.NewCLISession(within(t, patience), sandbox(t), w, nil)
		},
		"local": func(t *testing.T, w *seer.Workspace) (restartable, error) {
			return seer.NewLocalSession(within(t, patience), w, t.TempDir(), nil)
		},
		"local notebook": func(t *testing.T, w *seer.Workspace) (restartable, error) {
			return seer.NewLocalNotebookSession(within(t, patience), w, &seer.LocalNotebookOptions{
				NotebookOptions: seer.NotebookOptions{OutputDir: t.TempDir()}, Dir: t.TempDir(), Python: jupytertest.Python(t),
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			workspace := fullWorkspace(t)
			session, err := start(t, workspace)
			require.NoError(t, err)
			defer closeSession(t, session)
			assert.Equal(t, "all there\n", text(t, session, useEverything))
			require.NoError(t, session.Restart(within(t, patience)))
			assert.Equal(t, "all there\n", text(t, session, useEverything))

			later, err := start(t, nil)
			require.NoError(t, err)
			defer closeSession(t, later)
			require.NoError(t, later.Setup(within(t, patience), workspace))
			assert.Equal(t, "all there\n", text(t, later, useEverything))

			// Init code that fails is told, and does not stand in the way later.
			var raised *seer.KernelError
			require.ErrorAs(t, later.Setup(within(t, patience), &seer.Workspace{CustomInitCode: "1/0"}), &raised)
			require.NoError(t, later.Restart(within(t, patience)))
			assert.Equal(t, "all there\n", text(t, later, useEverything))
		})
	}
}
