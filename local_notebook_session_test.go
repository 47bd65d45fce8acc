package seer_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

func startLocalNotebook(t *testing.T, workspace *seer.Workspace, opts seer.LocalNotebookOptions) *seer.LocalNotebookSession {
	t.Helper()
	opts.Python = jupytertest.Python(t)
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.OutputDir = t.TempDir()
	session, err := seer.NewLocalNotebookSession(within(t, 2*time.Minute), workspace, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { closeSession(t, session) })
	return session
}

func TestLocalNotebookSession(t *testing.T) {
	t.Setenv("HF_TOKEN", "the user's own")
	foreign := jupytertest.Start(t)
	session := startLocalNotebook(t, &seer.Workspace{
		Libraries: []seer.Library{{
			Name:  "helping",
			Files: map[string]string{"__init__.py": "import os\ndef key(): return os.environ['HELPING_KEY']\n"},
			Env:   map[string]string{"HELPING_KEY": "k3y"},
		}},
		CustomInitCode: "ready = True",
	}, seer.LocalNotebookOptions{Env: map[string]string{"ALLOWED": "yes"}})

	assert.Equal(t, "k3y True", strings.TrimSpace(text(t, session, "import helping\nprint(helping.key(), ready)")))
	assert.Equal(t, "yes None", strings.TrimSpace(text(t, session, "import os\nprint(os.environ['ALLOWED'], os.environ.get('HF_TOKEN'))")))
	here, err := filepath.EvalSymlinks(session.WorkspacePath())
	require.NoError(t, err)
	assert.Equal(t, here, strings.TrimSpace(text(t, session, "print(os.path.realpath(os.getcwd()))")))
	if runtime.GOOS == "linux" {
		transport := "from ipykernel.connect import get_connection_info\nget_connection_info(unpack=True)['transport']"
		assert.Equal(t, "'ipc'", text(t, session, transport), "no other user of the machine reads along")
	}

	// It has a server of its own, which asks for a token of its own.
	assert.NotContains(t, session.JupyterURL(), foreign.Config.Token)
	address, err := url.Parse(session.JupyterURL())
	require.NoError(t, err)
	status := address.ResolveReference(&url.URL{Path: "/api/status"})
	code, _ := get(t, http.DefaultClient, status.String())
	assert.Equal(t, http.StatusForbidden, code)
	status.RawQuery = address.RawQuery
	code, _ = get(t, http.DefaultClient, status.String())
	assert.Equal(t, http.StatusOK, code)
	assert.NotContains(t, text(t, session, "print(os.environ)"), address.Query().Get("token"))

	require.NoError(t, session.Restart(within(t, patience)))
	assert.Equal(t, "True k3y", strings.TrimSpace(text(t, session, "import helping\nprint(ready, helping.key())")))

	private := filepath.Dir(strings.TrimSpace(text(t, session, "import os\nprint(os.environ['JUPYTER_RUNTIME_DIR'])")))
	closeSession(t, session)
	_, err = os.Stat(private)
	require.ErrorIs(t, err, os.ErrNotExist)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, status.String(), nil)
	require.NoError(t, err)
	if response, err := http.DefaultClient.Do(request); !assert.Error(t, err, "the server has ended") {
		_ = response.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{session.NotebookPath(), filepath.Join(session.WorkspacePath(), filepath.Base(session.NotebookPath()))} {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Contains(t, string(data), "helping.key()")
	}
	out, err := exec.CommandContext(within(t, patience), jupytertest.Python(t), "-c", validNotebook, session.NotebookPath()).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestLocalNotebookWithoutJupyter(t *testing.T) {
	base, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no Python on this machine: ", err)
	}
	bare := t.TempDir()
	out, err := exec.CommandContext(within(t, patience), base, "-m", "venv", "--without-pip", bare).CombinedOutput()
	require.NoError(t, err, "%s", out)
	python := filepath.Join(bare, "bin", "python")
	if runtime.GOOS == "windows" {
		python = filepath.Join(bare, "Scripts", "python.exe")
	}
	_, err = seer.NewLocalNotebookSession(within(t, patience), nil, &seer.LocalNotebookOptions{
		NotebookOptions: seer.NotebookOptions{OutputDir: t.TempDir()}, Dir: t.TempDir(), Python: python,
	})
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.ErrorContains(t, err, python+" -m pip install jupyter_server ipykernel")
}

// TestLocalNotebookBesideOthers: a new notebook replaces nobody's file, and may
// grow where the code runs.
func TestLocalNotebookBesideOthers(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"mine.ipynb": "precious"})
	open := func(name, output string) (*seer.LocalNotebookSession, error) {
		return seer.NewLocalNotebookSession(within(t, patience), nil, &seer.LocalNotebookOptions{
			NotebookOptions: seer.NotebookOptions{Name: name, OutputDir: output}, Dir: dir, Python: jupytertest.Python(t),
		})
	}
	_, err := open("mine", t.TempDir())
	require.ErrorIs(t, err, os.ErrExist)
	data, err := os.ReadFile(filepath.Join(dir, "mine.ipynb"))
	require.NoError(t, err)
	assert.Equal(t, "precious", string(data))

	session, err := open("here", dir)
	require.NoError(t, err)
	assert.Equal(t, "2", text(t, session, "1 + 1"))
	closeSession(t, session)
	data, err = os.ReadFile(filepath.Join(dir, "here.ipynb"))
	require.NoError(t, err)
	assert.Contains(t, string(data), "1 + 1")
}

// TestANotebookIsBounded shows more than anybody keeps, in an end and without one.
func TestANotebookIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	session := startLocalNotebook(t, nil, seer.LocalNotebookOptions{NotebookOptions: seer.NotebookOptions{OutputLimit: limit}})
	for _, code := range []string{
		"for i in range(40_000): print(i, 'x' * 100)",
		"import sys\nfor i in range(400): print('x' * 10_000, file=(sys.stdout, sys.stderr)[i % 2])",
		"for i in range(40): display('x' * 100_000)",
		"print('x' * 5_000_000)",
		"print('x' * 50_000_000)",
	} {
		result, err := session.Exec(within(t, patience), "print('the beginning', flush=True)\n"+code+"\nprint('the end')")
		require.NoError(t, err, code)
		shown := result.Text()
		assert.True(t, strings.HasPrefix(shown, "the beginning\n"), code)
		assert.Contains(t, shown[max(0, len(shown)-limit/2):], "the end\n", code)
		assert.Contains(t, shown, "bytes of output left out ...]", code)
		assert.Less(t, len(shown), limit+10_000, code)
		assert.Greater(t, result.Omitted, int64(500_000), code)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	began := time.Now()
	result, err := session.Exec(ctx, "print('the beginning', flush=True)\nwhile True: print('x' * 1000)")
	t.Logf("ended after %v, %d bytes left out", time.Since(began), result.Omitted)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.True(t, strings.HasPrefix(result.Text(), "the beginning\n"))
	assert.Less(t, len(result.Text()), limit+10_000)
	assert.Equal(t, "2", text(t, session, "1 + 1"), "the next cell gets its own answer")

	closeSession(t, session)
	file, err := os.Stat(session.NotebookPath())
	require.NoError(t, err)
	assert.Less(t, file.Size(), int64(8*limit))
	out, err := exec.CommandContext(within(t, patience), jupytertest.Python(t), "-c", validNotebook, session.NotebookPath()).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
