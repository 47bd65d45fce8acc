package seer_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

func startLocal(t *testing.T, workspace *seer.Workspace, opts *seer.LocalOptions) *seer.LocalSession {
	t.Helper()
	session, err := seer.NewLocalSession(t.Context(), workspace, t.TempDir(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(context.Background())) })
	return session
}

func textOf(t *testing.T, session seer.Session, code string) string {
	t.Helper()
	result, err := session.Exec(within(t, patience), code)
	require.NoError(t, err)
	return result.Text()
}

func TestLocalSession(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)

	t.Run("keeps variables and shows the last value", func(t *testing.T) {
		assert.Empty(t, textOf(t, session, "x = 20"))
		assert.Equal(t, "21", textOf(t, session, "x + 1"))
		assert.Equal(t, "22", textOf(t, session, "_ + 1"))
		assert.Empty(t, textOf(t, session, ""))
	})

	t.Run("works in the workspace directory", func(t *testing.T) {
		textOf(t, session, "open('made.txt', 'w').write('here')")
		data, err := os.ReadFile(filepath.Join(session.WorkspacePath(), "made.txt"))
		require.NoError(t, err)
		assert.Equal(t, "here", string(data))
	})

	t.Run("keeps the order of both streams and of results", func(t *testing.T) {
		result, err := session.Exec(t.Context(), "import sys\nfor i in range(3):\n    print(i); print('e', i, file=sys.stderr)\ndisplay('d')\n'last'")
		require.NoError(t, err)
		var seen []string
		for _, o := range result.Outputs {
			text, _ := o.Data.Text("text/plain")
			seen = append(seen, string(o.Type)+o.Name+":"+o.Text+text)
		}
		assert.Equal(t, []string{
			"streamstdout:0\n", "streamstderr:e 0\n", "streamstdout:1\n", "streamstderr:e 1\n", "streamstdout:2\n", "streamstderr:e 2\n",
			"display_data:'d'", "execute_result:'last'",
		}, seen)
	})

	t.Run("catches what subprocesses, C and forked children print", func(t *testing.T) {
		text := textOf(t, session, `
import os, subprocess
subprocess.run(["sh", "-c", "echo shell; echo é >&2"], check=True)
os.write(1, b"raw\n")
child = os.fork()
if child == 0:
    print("forked", flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("end")`)
		assert.ElementsMatch(t, []string{"shell", "é", "raw", "forked", "end"}, strings.Fields(text))
	})

	t.Run("outlives code that closes or redirects its descriptors", func(t *testing.T) {
		other := startLocal(t, nil, nil)
		textOf(t, other, "import os\nos.dup2(os.open('elsewhere', os.O_CREAT | os.O_WRONLY), 1)\nos.close(2)\nos.close(0)")
		assert.Equal(t, "still here\n", textOf(t, other, "print('still here')"))
	})

	t.Run("tells what was raised", func(t *testing.T) {
		result, err := session.Exec(t.Context(), "def f(n):\n    return 1 / n\n\nprint('before')\nf(0)")
		var raised *seer.KernelError
		require.ErrorAs(t, err, &raised)
		assert.Equal(t, "ZeroDivisionError", raised.Name)
		assert.Equal(t, "division by zero", raised.Value)
		assert.Equal(t, "ZeroDivisionError: division by zero", err.Error())
		assert.Contains(t, raised.Traceback, "return 1 / n", "with its source lines")
		assert.NotContains(t, raised.Traceback, "_evaluate", "without ours")
		assert.Equal(t, raised, result.Err())
		assert.True(t, strings.HasPrefix(result.Text(), "before\nTraceback"), result.Text())

		for code, name := range map[string]string{
			"x = (": "SyntaxError", "raise SystemExit(3)": "SystemExit", "input('?')": "EOFError", "raise KeyboardInterrupt": "KeyboardInterrupt",
			"class E(Exception):\n    def __str__(self): raise ValueError\nraise E": "E",
			"class R:\n    def __repr__(self): raise KeyError('r')\nR()":            "KeyError",
			"'\\ud800'.encode()": "UnicodeEncodeError",
		} {
			_, err := session.Exec(within(t, patience), code)
			require.ErrorAs(t, err, &raised, code)
			assert.Equal(t, name, raised.Name)
		}
		assert.Equal(t, "21", textOf(t, session, "x + 1"), "the interpreter lives on")
	})

	t.Run("shows pictures", func(t *testing.T) {
		result, err := session.Exec(t.Context(), "class P:\n    def _repr_png_(self): return b'\\x89PNG'\n    def _repr_html_(self): return '<b>'\nP()")
		require.NoError(t, err)
		assert.Equal(t, []seer.Image{{MIME: "image/png", Data: []byte("\x89PNG")}}, result.Images())
		html, ok := result.Outputs[0].Data.Text("text/html")
		assert.True(t, ok)
		assert.Equal(t, "<b>", html)
	})

	t.Run("pickles what it defines", func(t *testing.T) {
		assert.Equal(t, "'__main__'", textOf(t, session, "class Point: pass\nimport pickle\npickle.loads(pickle.dumps(Point())).__module__"))
	})

	t.Run("is linear in 20,000 lines and takes large code and output", func(t *testing.T) {
		text := textOf(t, session, "for i in range(20_000): print(i)")
		assert.Len(t, strings.Fields(text), 20_000)
		assert.Len(t, textOf(t, session, "print('"+strings.Repeat("y", 1<<20)+"' * 5, end='')"), 5<<20)
	})

	t.Run("runs one piece after another for many callers", func(t *testing.T) {
		textOf(t, session, "total = 0")
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				_, err := session.Exec(t.Context(), "before = total\nimport time; time.sleep(0.001)\ntotal = before + 1")
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.Equal(t, "20", textOf(t, session, "total"))
	})
}

func TestLocalSessionCancelInterrupts(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)
	textOf(t, session, "kept = 'kept'")

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	result, err := session.Exec(ctx, "import time\nprint('begun')\ntime.sleep(600)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	assert.Contains(t, result.Text(), "begun")
	assert.Contains(t, result.Text(), "KeyboardInterrupt")
	assert.Equal(t, "'kept'", textOf(t, session, "kept"), "variables stay")

	cancelled, stop := context.WithCancel(t.Context())
	stop()
	_, err = session.Exec(cancelled, "kept = 'changed'")
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, "'kept'", textOf(t, session, "kept"), "nothing runs for a context that has ended")
}

func TestLocalSessionInterruptsWhilePrinting(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := session.Exec(ctx, "while True: print('x' * 100_000)")
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, seer.ErrKernelDied)
	}
	assert.Equal(t, "2", textOf(t, session, "1 + 1"), "no event is cut in two")
}

func TestLocalSessionKillsWhatIgnoresInterrupts(t *testing.T) {
	t.Parallel() // it waits for five seconds
	session := startLocal(t, &seer.Workspace{CustomInitCode: "prepared = 'yes'"}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := session.Exec(ctx, "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, seer.ErrKernelDied)
	assert.ErrorContains(t, err, "killed")

	_, err = session.Exec(t.Context(), "1")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	require.NoError(t, session.Restart(t.Context()))
	assert.Equal(t, "'yes'", textOf(t, session, "prepared"), "init code runs again")
}

func TestLocalSessionDeath(t *testing.T) {
	session := startLocal(t, nil, nil)
	result, err := session.Exec(within(t, patience), "print('last words')\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	assert.ErrorContains(t, err, "SIGKILL")
	assert.Equal(t, "last words\n", result.Text())
	require.NoError(t, session.Restart(t.Context()))
	_, err = session.Exec(within(t, patience), "import os; os._exit(0)")
	require.ErrorIs(t, err, seer.ErrKernelDied)
}

func TestLocalSessionRestartEndsWhatRuns(t *testing.T) {
	session := startLocal(t, nil, nil)
	marker := filepath.Join(session.WorkspacePath(), "started")
	ended := make(chan error, 1)
	go func() {
		_, err := session.Exec(t.Context(), "x = 1\nimport time\nopen('started', 'w').close()\ntime.sleep(600)")
		ended <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(marker); return err == nil }, time.Minute, 5*time.Millisecond)
	require.NoError(t, session.Restart(t.Context()))
	require.ErrorIs(t, <-ended, seer.ErrKernelDied)
	assert.Equal(t, "False", textOf(t, session, "'x' in globals()"))
}

func TestLocalSessionInterrupt(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)
	require.NoError(t, session.Interrupt(t.Context()), "idle: nothing happens")
	marker := filepath.Join(session.WorkspacePath(), "started")
	ended := make(chan error, 1)
	go func() {
		_, err := session.Exec(t.Context(), "import time\nopen('started', 'w').close()\ntime.sleep(600)")
		ended <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(marker); return err == nil }, time.Minute, 5*time.Millisecond)
	require.NoError(t, session.Interrupt(t.Context()))
	var raised *seer.KernelError
	require.ErrorAs(t, <-ended, &raised)
	assert.Equal(t, "KeyboardInterrupt", raised.Name)

	_, err := session.Exec(within(t, patience), missedInterrupt)
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "KeyboardInterrupt", raised.Name)
}

func TestLocalSessionGetsItsFirstLibraryLater(t *testing.T) {
	session := startLocal(t, nil, nil)
	_, err := session.Exec(t.Context(), "import later")
	require.Error(t, err)
	require.NoError(t, session.Setup(t.Context(), &seer.Workspace{Libraries: []seer.Library{{Name: "later", Files: map[string]string{"__init__.py": "x = 7"}}}}))
	assert.Equal(t, "7", textOf(t, session, "import later; later.x"))
}

func TestLocalSessionTimeout(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, &seer.LocalOptions{Timeout: 300 * time.Millisecond})
	_, err := session.Exec(t.Context(), "import time; time.sleep(600)")
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	assert.Equal(t, 300*time.Millisecond, timeout.After)
}

func TestLocalSessionClose(t *testing.T) {
	session, err := seer.NewLocalSession(t.Context(), nil, t.TempDir(), nil)
	require.NoError(t, err)
	child := textOf(t, session, "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)")
	require.NoError(t, session.Close(t.Context()))
	require.NoError(t, session.Close(t.Context()), "again is fine")
	require.Eventually(t, func() bool {
		state, err := os.ReadFile("/proc/" + strings.TrimSpace(child) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ") // gone, or nobody's business but init's
	}, time.Minute, 5*time.Millisecond, "what the code started ends with it")
	_, err = session.Exec(t.Context(), "1")
	assert.ErrorContains(t, err, "closed")
	assert.Nil(t, session.MCPConfig())
}

func TestLocalSessionStartErrors(t *testing.T) {
	_, err := seer.NewLocalSession(t.Context(), nil, "", nil)
	assert.ErrorContains(t, err, "workspace directory")
	_, err = seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{Python: "no-such-python"})
	assert.ErrorContains(t, err, "no-such-python")
	_, err = seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{Python: "false"})
	require.ErrorIs(t, err, seer.ErrKernelDied)
	_, err = seer.NewLocalSession(t.Context(), &seer.Workspace{CustomInitCode: "1/0"}, t.TempDir(), nil)
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
	assert.ErrorContains(t, err, "run init code")
}

func TestLocalSessionEnvironment(t *testing.T) {
	t.Chdir(write(t, map[string]string{".env": "FROM_FILE=file-secret\nLISTED=listed\nLANG=file-secret\n"}))
	for _, name := range []string{"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "HF_TOKEN", "OPENAI_API_KEY", "FROM_FILE", "LANG"} {
		t.Setenv(name, "file-secret")
	}
	session := startLocal(t, &seer.Workspace{Libraries: []seer.Library{{
		Name: "service", Files: map[string]string{"__init__.py": "import os\ntoken = os.environ['SERVICE_TOKEN']\n"},
		Env: map[string]string{"SERVICE_TOKEN": "library-secret"},
	}}}, &seer.LocalOptions{Env: map[string]string{"GIVEN": "given"}, Secrets: []string{"LISTED"}})

	seen := textOf(t, session, "import os, subprocess\nprint(subprocess.run(['env'], capture_output=True, text=True).stdout)")
	assert.NotContains(t, seen, "file-secret")
	assert.Contains(t, seen, "LISTED=listed")
	assert.Contains(t, seen, "GIVEN=given")
	assert.Contains(t, seen, "PATH=")
	assert.Equal(t, "'library-secret'", textOf(t, session, "import service; service.token"))

	err := filepath.WalkDir(session.WorkspacePath(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		assert.NotContains(t, string(data), "library-secret", path)
		return err
	})
	require.NoError(t, err)

	_, err = seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{Secrets: []string{"NOWHERE"}})
	require.ErrorIs(t, err, seer.ErrNotFound)
}

func TestLocalSessionWorkspace(t *testing.T) {
	t.Parallel()
	source := write(t, map[string]string{"data/a.txt": "A", "note.txt": "note", "my-skill/SKILL.md": "# Mine", "my-skill/extra.py": "x = 1"})
	session := startLocal(t, workspaceOf(source), nil)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(session.WorkspacePath(), name))
		require.NoError(t, err)
		return string(data)
	}
	assert.Equal(t, "A", read("data/a.txt"), "/workspace is the workspace directory")
	assert.Equal(t, "note", read("notes/note.txt"))
	for _, home := range []string{"skills", ".claude/skills"} {
		assert.Contains(t, read(home+"/counting/SKILL.md"), "When counting.")
		assert.Equal(t, "# Mine", read(home+"/my-skill/SKILL.md"))
		assert.Equal(t, "x = 1", read(home+"/my-skill/extra.py"))
	}
	assert.Equal(t, "(3, 'A')", textOf(t, session, "answer"), "init code has the libraries and the files")

	out := textOf(t, session, "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import shapes.round; print(shapes.round.circle())'], capture_output=True, text=True, check=True).stdout)")
	assert.Equal(t, "o", strings.TrimSpace(out), "also from a process that the code starts")

	require.NoError(t, session.Setup(t.Context(), &seer.Workspace{Libraries: []seer.Library{{Name: "later", Files: map[string]string{"__init__.py": "x = 7"}}}}))
	assert.Equal(t, "7", textOf(t, session, "import later; later.x"))

	for _, target := range []string{"/etc/passwd2", "../out", "/workspace/../out", ""} {
		err := session.Setup(t.Context(), &seer.Workspace{LocalFiles: []seer.Mount{{Source: filepath.Join(source, "note.txt"), Target: target}}})
		assert.ErrorIs(t, err, os.ErrInvalid, target)
	}
	err := session.Setup(t.Context(), &seer.Workspace{Libraries: []seer.Library{{Name: "json", Files: map[string]string{"__init__.py": ""}}, {Name: "sys", Files: map[string]string{"__init__.py": ""}}}})
	assert.ErrorContains(t, err, "another one", "a name that Python has already")
}

// workspaceOf uses everything that a workspace has.
func workspaceOf(source string) *seer.Workspace {
	return &seer.Workspace{
		LocalDirs:  []seer.Mount{{Source: filepath.Join(source, "data"), Target: "/workspace/data"}},
		LocalFiles: []seer.Mount{{Source: filepath.Join(source, "note.txt"), Target: "notes/note.txt"}},
		Libraries: []seer.Library{
			{Name: "counting", Files: map[string]string{"__init__.py": "def count(x): return len(x)\n"}},
			{Name: "shapes", Files: map[string]string{"__init__.py": "from .round import circle\n", "round.py": "def circle(): return 'o'\n"}},
		},
		Skills:         []seer.Skill{seer.SkillFromSource("counting", "When counting.", "import counting")},
		SkillDirs:      []string{filepath.Join(source, "my-skill")},
		CustomInitCode: "import counting\nanswer = counting.count('abc'), open('data/a.txt').read()",
	}
}

// After an interrupt that was noticed, no signal strikes the code that comes next.
func TestNoSignalAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("skipped: needs a system with sigtimedwait")
	}
	session := startLocal(t, nil, nil)
	_, err := session.Exec(t.Context(), "import os, signal, threading\nthreading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\nthreading.Event().wait(60)")
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "KeyboardInterrupt", raised.Name)
	assert.Equal(t, "True", textOf(t, session, "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])\nsignal.sigtimedwait([signal.SIGURG], 0.8) is None"))
}
