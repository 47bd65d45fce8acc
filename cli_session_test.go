package seer_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

func startCLI(t *testing.T, sandbox *seer.Sandbox, workspace *seer.Workspace, opts *seer.CLIOptions) *seer.CLISession {
	t.Helper()
	session, err := seer.NewCLISession(t.Context(), sandbox, workspace, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(context.Background())) })
	return session
}

func TestCLISession(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	source := write(t, map[string]string{"data/a.txt": "A", "note.txt": "note", "my-skill/SKILL.md": "# Mine", "my-skill/extra.py": "x = 1"})
	workspace := workspaceOf(source)
	workspace.Libraries = append(workspace.Libraries, seer.Library{
		Name: "service", Files: map[string]string{"__init__.py": "import os\ntoken = os.environ['SERVICE_TOKEN']\n"},
		Env: map[string]string{"SERVICE_TOKEN": "library-secret"},
	})
	session := startCLI(t, sandbox, workspace, nil)

	t.Run("keeps variables and shows the last value", func(t *testing.T) {
		assert.Equal(t, "/workspace", session.WorkspacePath())
		assert.Equal(t, "(3, 'A')", textOf(t, session, "answer"))
		textOf(t, session, "x = 20")
		assert.Equal(t, "'/workspace'", textOf(t, session, "import os; os.getcwd()"))
		assert.Equal(t, "printed\n21", textOf(t, session, "print('printed'); x + 1"))
		_, err := session.Exec(t.Context(), "1/0")
		var raised *seer.KernelError
		require.ErrorAs(t, err, &raised)
		assert.Equal(t, "ZeroDivisionError", raised.Name)
	})

	t.Run("has libraries in every Python", func(t *testing.T) { // D33
		assert.Equal(t, "'library-secret'", textOf(t, session, "import service; service.token"))
		out, err := sandbox.ExecPython(t.Context(), "import counting, shapes.round; print(counting.count('ab'), shapes.circle())")
		require.NoError(t, err)
		assert.Equal(t, "2 o\n", out)
		out, err = session.Shell(t.Context(), "cd / && python -c 'import service; print(service.token)'")
		require.NoError(t, err)
		assert.Equal(t, "library-secret\n", out)
		out, err = sandbox.Exec(t.Context(), "grep -rl library-secret /workspace /opt /tmp /etc || true")
		require.NoError(t, err)
		assert.Empty(t, out, "no file holds the secret")
	})

	t.Run("has files and skills", func(t *testing.T) {
		for name, want := range map[string]string{
			"data/a.txt": "A", "notes/note.txt": "note",
			"skills/my-skill/SKILL.md": "# Mine", ".claude/skills/my-skill/extra.py": "x = 1",
			"skills/counting/SKILL.md": workspace.Skills[0].Markdown(), ".claude/skills/counting/SKILL.md": workspace.Skills[0].Markdown(),
		} {
			data, err := sandbox.ReadFile(t.Context(), "/workspace/"+name)
			require.NoError(t, err)
			assert.Equal(t, want, string(data), name)
		}
	})

	t.Run("takes a workspace later", func(t *testing.T) {
		later := &seer.Workspace{
			Libraries:      []seer.Library{{Name: "later", Files: map[string]string{"__init__.py": "x = 7"}}},
			LocalFiles:     []seer.Mount{{Source: filepath.Join(source, "note.txt"), Target: "/srv/note.txt"}},
			CustomInitCode: "import later",
		}
		require.NoError(t, session.Setup(t.Context(), later))
		assert.Equal(t, "7", textOf(t, session, "later.x"))
		data, err := sandbox.ReadFile(t.Context(), "/srv/note.txt")
		require.NoError(t, err)
		assert.Equal(t, "note", string(data))
		require.NoError(t, session.Setup(t.Context(), nil))
		err = session.Setup(t.Context(), &seer.Workspace{Libraries: []seer.Library{{Name: "json", Files: map[string]string{"__init__.py": ""}}}})
		assert.ErrorContains(t, err, "another one")
	})

	t.Run("runs commands in the workspace", func(t *testing.T) {
		out, err := session.Shell(t.Context(), "pwd; echo noise >&2")
		require.NoError(t, err)
		assert.Equal(t, "/workspace\n", out)
		out, err = session.Shell(t.Context(), "pwd; : "+strings.Repeat("x", 100<<10))
		require.NoError(t, err)
		assert.Equal(t, "/workspace\n", out)
		var exit *seer.ExitError
		_, err = session.Shell(t.Context(), "exit 4")
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 4, exit.Code)
	})

	t.Run("interrupts when its context ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := session.Exec(ctx, "kept = 'kept'\nimport time; time.sleep(600)")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, seer.ErrKernelDied)
		assert.Equal(t, "'kept'", textOf(t, session, "kept"))
	})

	t.Run("dies and is restarted with its init code", func(t *testing.T) {
		_, err := session.Exec(within(t, patience), "import os; os.abort()")
		require.ErrorIs(t, err, seer.ErrKernelDied)
		assert.ErrorContains(t, err, "SIGABRT")
		_, err = session.Exec(t.Context(), "1")
		require.ErrorIs(t, err, seer.ErrKernelDied)
		require.NoError(t, session.Restart(t.Context()))
		assert.Equal(t, "(3, 'A')", textOf(t, session, "answer"))
		assert.Equal(t, "'library-secret'", textOf(t, session, "import service; service.token"))
	})

	t.Run("shares the sandbox with others", func(t *testing.T) {
		other := startCLI(t, sandbox, nil, nil)
		textOf(t, session, "mine = 1")
		assert.Equal(t, "False", textOf(t, other, "'mine' in globals()"))
	})
}

func TestCLISessionEndsWithItsSandbox(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})
	session := startCLI(t, sandbox, nil, nil)
	textOf(t, session, "x = 1")
	terminate(t, sandbox)
	_, err := session.Exec(within(t, patience), "x")
	require.ErrorIs(t, err, seer.ErrKernelDied)

	_, err = seer.NewCLISession(t.Context(), sandbox, nil, nil)
	require.ErrorIs(t, err, seer.ErrTerminated)
	_, err = seer.NewCLISession(t.Context(), seer.NewSandbox(seer.SandboxConfig{}), nil, nil)
	require.ErrorIs(t, err, seer.ErrNotStarted)
}

func TestTwentyCLISessionsLeaveNothing(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})
	const sessions, mark = 20, "86399.75"
	var group sync.WaitGroup
	for range sessions {
		group.Go(func() {
			session, err := seer.NewCLISession(t.Context(), sandbox, nil, nil)
			if !assert.NoError(t, err) {
				return
			}
			_, err = session.Exec(t.Context(), "import subprocess\nchild = subprocess.Popen(['sleep', '"+mark+"'])")
			assert.NoError(t, err)
			assert.NotEmpty(t, session.MCPConfig())
			assert.NoError(t, session.Close(t.Context()))
			assert.NoError(t, session.Close(t.Context()), "again is fine")
		})
	}
	group.Wait()
	require.Eventually(t, func() bool { return processes(t, sandbox, mark) == 0 }, time.Minute, 10*time.Millisecond)
}
