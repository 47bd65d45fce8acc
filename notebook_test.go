package seer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// startNotebook starts a session that ends with the test.
func startNotebook(t *testing.T, sandbox *seer.Sandbox, workspace *seer.Workspace, opts seer.NotebookOptions) *seer.NotebookSession {
	t.Helper()
	if opts.OutputDir == "" && opts.Resume == "" {
		opts.OutputDir = t.TempDir()
	}
	session, err := seer.NewNotebookSession(within(t, 5*time.Minute), sandbox, workspace, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { closeSession(t, session) })
	return session
}

func closeSession(t *testing.T, session seer.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	require.NoError(t, session.Close(ctx))
	require.NoError(t, session.Close(ctx), "closing twice")
}

// text runs a cell that succeeds.
func text(t *testing.T, session seer.Session, code string) string {
	t.Helper()
	result, err := session.Exec(within(t, patience), code)
	require.NoError(t, err)
	return result.Text()
}

// The document's own lines: the config says nothing of notebooks.
func TestNotebookInstalledOnTheSpot(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	assert.Empty(t, sandbox.JupyterURL())
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	assert.Equal(t, "hi\n42", text(t, session, "print('hi')\n6*7"))

	// A server that another program started is found, with its token.
	again, err := seer.FromID(t.Context(), sandbox.SandboxID(), seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	other := startNotebook(t, again, nil, seer.NotebookOptions{})
	assert.Equal(t, "5", text(t, other, "2+3"))
	assert.Equal(t, sandbox.JupyterURL(), again.JupyterURL())
	closeSession(t, other)
	require.NoError(t, again.Close())

	// One that was ended is replaced by one with another token.
	closeSession(t, session)
	before := sandbox.JupyterURL()
	_, err = sandbox.Exec(t.Context(), "JUPYTER_RUNTIME_DIR=/run/seer/Jupyter/runtime jupyter server stop 8888")
	require.NoError(t, err)
	assert.Equal(t, "7", text(t, startNotebook(t, sandbox, nil, seer.NotebookOptions{}), "3+4"))
	assert.NotEqual(t, before, sandbox.JupyterURL())
}

func TestNotebookMode(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook, Env: map[string]string{"GREETING": "hello"}})
	golden(t, filepath.Join("testdata", "wire", "notebook.txtar"), wireOf(t, server.Calls()))
	t.Run("token", func(t *testing.T) { t.Parallel(); testJupyterToken(t, sandbox) })
	t.Run("terminal", func(t *testing.T) { t.Parallel(); testJupyterTerminal(t, sandbox) })
	t.Run("cells", func(t *testing.T) { t.Parallel(); testCells(t, sandbox) })
	t.Run("file", func(t *testing.T) { t.Parallel(); testNotebookFile(t, sandbox) })
	t.Run("workspace", func(t *testing.T) { t.Parallel(); testNotebookWorkspace(t, sandbox) })
	t.Run("interrupt", func(t *testing.T) { t.Parallel(); testNotebookInterrupt(t, sandbox) })
	t.Run("death", func(t *testing.T) { t.Parallel(); testKernelDeath(t, sandbox) })
	t.Run("side by side", func(t *testing.T) { t.Parallel(); testSideBySide(t, sandbox) })
	t.Run("resume and fork", func(t *testing.T) { t.Parallel(); testResumeAndFork(t, sandbox) })
	t.Run("edit while it runs", func(t *testing.T) { t.Parallel(); testEditWhileItRuns(t, sandbox) })
	t.Run("taken names", func(t *testing.T) { t.Parallel(); testTakenNotebookNames(t, sandbox) })
	t.Run("large", func(t *testing.T) { t.Parallel(); testLargeOutput(t, sandbox) })
	t.Run("tools", func(t *testing.T) { t.Parallel(); testNotebookTools(t, sandbox) })
	t.Run("closed", func(t *testing.T) { t.Parallel(); testClosedNotebook(t, sandbox) })
	t.Run("cancel", func(t *testing.T) { t.Parallel(); testCancelThroughMCP(t, sandbox) })
}

// kernelID tells a session's kernel from those of other tests in its sandbox.
func kernelID(t *testing.T, session *seer.NotebookSession) string {
	t.Helper()
	file := path.Base(strings.TrimSpace(text(t, session, "import ipykernel; print(ipykernel.get_connection_file())")))
	return strings.TrimSuffix(strings.TrimPrefix(file, "kernel-"), ".json")
}

// A terminal of the server has the Python of the sandbox's commands.
func testJupyterTerminal(t *testing.T, sandbox *seer.Sandbox) {
	ctx := within(t, patience)
	want, err := sandbox.Exec(ctx, "command -v python")
	require.NoError(t, err)
	address, err := url.Parse(sandbox.JupyterURL())
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.ResolveReference(&url.URL{Path: "/api/terminals", RawQuery: address.RawQuery}).String(), nil)
	require.NoError(t, err)
	var terminal struct{ Name string }
	_, body := do(t, http.DefaultClient, request)
	require.NoError(t, json.Unmarshal([]byte(body), &terminal), body)
	conn, _, err := websocket.Dial(ctx, address.ResolveReference(&url.URL{Path: "/terminals/websocket/" + terminal.Name, RawQuery: address.RawQuery}).String(), nil)
	require.NoError(t, err)
	defer conn.CloseNow() //nolint:errcheck // it has said what it had to
	require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte(`["stdin", "echo \"<$(command -v python)>\"\r"]`)))
	answer := regexp.MustCompile(`<(/[^>$]*)?>`) // not what was typed
	var screen string
	for !answer.MatchString(screen) {
		_, message, err := conn.Read(ctx)
		require.NoError(t, err, screen)
		var output []any
		require.NoError(t, json.Unmarshal(message, &output), "%s", message)
		if output[0] == "stdout" {
			text, _ := output[1].(string)
			screen += text
		}
	}
	assert.Equal(t, "<"+strings.TrimSpace(want)+">", answer.FindString(screen))
}

func testJupyterToken(t *testing.T, sandbox *seer.Sandbox) {
	address, err := url.Parse(sandbox.JupyterURL())
	require.NoError(t, err)
	token := address.Query().Get("token")
	require.NotEmpty(t, token)
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	transport := "from ipykernel.connect import get_connection_info\nget_connection_info(unpack=True)['transport']"
	assert.Equal(t, "'ipc'", text(t, session, transport), "no program can take its ports")
	channels := address.ResolveReference(&url.URL{Path: "/api/kernels/" + kernelID(t, session) + "/channels"}).String()
	for _, wrong := range []string{"", "?token=wrong"} {
		status, _ := get(t, http.DefaultClient, address.ResolveReference(&url.URL{Path: "/api/kernels"}).String()+wrong)
		assert.Equal(t, http.StatusForbidden, status)
		conn, response, err := websocket.Dial(within(t, patience), channels+wrong, nil)
		if !assert.Error(t, err) {
			_ = conn.CloseNow()
			continue
		}
		require.NotNil(t, response)
		assert.Equal(t, http.StatusForbidden, response.StatusCode)
		for _, path := range []string{"/api/contents", "/api/sessions", "/api/status", "/api/kernelspecs", "/api/terminals", "/api/config/x", "/files/x", "/nbconvert/html/x", "/view/x", "/metrics"} {
			status, body := get(t, http.DefaultClient, address.ResolveReference(&url.URL{Path: path}).String()+wrong)
			assert.True(t, status == http.StatusForbidden || strings.Contains(body, `name="password"`), "%s: refused, or asked for the token", path)
		}
	}
	conn, _, err := websocket.Dial(within(t, patience), channels+"?"+address.RawQuery, nil)
	require.NoError(t, err)
	require.NoError(t, conn.CloseNow())
	closeSession(t, session)

	out, err := sandbox.Exec(within(t, patience), "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
	require.NoError(t, err)
	assert.Contains(t, out, "jupyter_server")
	assert.NotContains(t, out, token)
}

func testCells(t *testing.T, sandbox *seer.Sandbox) {
	var mu sync.Mutex
	var streamed []string
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{OnOutput: func(_ seer.Cell, o seer.Output) {
		mu.Lock()
		defer mu.Unlock()
		streamed = append(streamed, o.Text)
	}})
	assert.Equal(t, "/workspace hello", strings.TrimSpace(text(t, session, "import os\nprint(os.getcwd(), os.environ['GREETING'])")))
	mu.Lock()
	assert.Contains(t, strings.Join(streamed, ""), "/workspace hello")
	mu.Unlock()

	assert.Equal(t, "out 0\nerr 0\nout 1\nerr 1\nend", text(t, session,
		"import sys\nfor i in range(2):\n    print('out', i)\n    print('err', i, file=sys.stderr)\nsys.stdout.write('end')\nNone"), "both streams keep their order")

	result, err := session.Exec(within(t, patience), "print('before')\n1/0")
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "ZeroDivisionError", raised.Name)
	assert.Contains(t, raised.Traceback, "1/0")
	assert.Contains(t, result.Text(), "before")

	_, err = session.Exec(within(t, patience), "input('name? ')")
	require.ErrorAs(t, err, &raised)
	assert.Equal(t, "StdinNotImplementedError", raised.Name)

	result, err = session.Exec(within(t, patience), "from IPython.display import Image, display\nimport base64\n"+
		"display(Image(base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==')))")
	require.NoError(t, err)
	require.Len(t, result.Images(), 1)
	assert.Equal(t, "image/png", result.Images()[0].MIME)

	_, err = session.ExecHidden(within(t, patience), "hidden = 'out of sight'")
	require.NoError(t, err)
	assert.Equal(t, "'out of sight'", text(t, session, "hidden"))
	for _, cell := range session.Cells() {
		assert.NotContains(t, cell.Source, "hidden =")
	}
	assert.NotContains(t, text(t, session, "[line for _, _, line in get_ipython().history_manager.get_range()]"), "hidden =")

	file := filepath.Join(t.TempDir(), "code.py")
	require.NoError(t, os.WriteFile(file, []byte("from_file = 12\nfrom_file"), 0o600))
	result, err = session.ExecFile(within(t, patience), file)
	require.NoError(t, err)
	assert.Equal(t, "12", result.Text())

	cells := session.Cells()
	last := cells[len(cells)-1]
	result, err = session.EditCell(within(t, patience), last.ID, "from_file + 1")
	require.NoError(t, err)
	assert.Equal(t, "13", result.Text())
	assert.Len(t, session.Cells(), len(cells))
	_, err = session.EditCell(within(t, patience), "none", "1")
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.Empty(t, session.ModelInfoText())
}

// validNotebook checks files with the format's own validator, in the sandbox.
const validNotebook = `
import json, sys, nbformat
for path in sys.argv[1:]:
    with open(path) as file:
        nbformat.validate(json.load(file), relax_add_props=False)
`

func testNotebookFile(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{Name: "findings"})
	remote := session.WorkspacePath() + "/findings.ipynb"
	holds := func(what string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			local, err := os.ReadFile(session.NotebookPath())
			require.NoError(c, err)
			assert.Contains(c, string(local), what)
			there, err := sandbox.ReadFile(t.Context(), remote)
			require.NoError(c, err)
			assert.Equal(c, string(local), string(there))
		}, 20*time.Second, 50*time.Millisecond)
	}
	_, err := session.AddMarkdown("# Findings")
	require.NoError(t, err)
	holds("# Findings")
	text(t, session, "print('a result')")
	holds("a result")
	_, err = session.EditCell(within(t, patience), session.Cells()[0].ID, "# Revised")
	require.NoError(t, err)
	holds("# Revised")

	running := make(chan error, 1)
	go func() {
		_, err := session.Exec(within(t, patience), "import os, time\nprint('half way', flush=True)\nwhile not os.path.exists('/tmp/go-on'): time.sleep(0.01)")
		running <- err
	}()
	holds("half way") // while the cell runs
	require.NoError(t, sandbox.WriteFile(t.Context(), "/tmp/go-on", nil))
	require.NoError(t, <-running)
	closeSession(t, session)

	_, err = sandbox.Command("python", "-c", validNotebook, remote).Output(within(t, patience))
	require.NoError(t, err)
	_, err = session.Exec(t.Context(), "1")
	require.Error(t, err)
	_, err = seer.NewNotebookSession(t.Context(), sandbox, nil, &seer.NotebookOptions{Name: "findings", OutputDir: filepath.Dir(session.NotebookPath())})
	require.ErrorIs(t, err, os.ErrExist)
}

func testNotebookWorkspace(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, &seer.Workspace{
		Libraries: []seer.Library{{
			Name:  "probing",
			Files: map[string]string{"__init__.py": "import os\ndef key(): return os.environ['PROBING_KEY']\n"},
			Env:   map[string]string{"PROBING_KEY": `quote " and \ back`},
		}},
		Skills:         []seer.Skill{{Name: "probing", Description: "how to probe", Content: "Probe."}},
		CustomInitCode: "ready = 'yes'",
	}, seer.NotebookOptions{})
	assert.Equal(t, `quote " and \ back yes`, strings.TrimSpace(text(t, session, "import probing\nprint(probing.key(), ready)")))
	assert.Contains(t, text(t, session, "print(open('skills/probing/SKILL.md').read())"), "Probe.")
	left, err := sandbox.Exec(t.Context(), "ls /run/seer/Jupyter/runtime")
	require.NoError(t, err)
	own := "kernel-" + kernelID(t, session) + ".json"
	assert.Contains(t, left, own)
	assert.NotContains(t, left, "seer-"+own, "secrets of libraries are not left lying about")

	require.NoError(t, session.Restart(within(t, patience)))
	assert.Equal(t, "yes", strings.TrimSpace(text(t, session, "import probing\nassert probing.key()\nprint(ready)")))

	require.NoError(t, session.Setup(within(t, patience), &seer.Workspace{
		Libraries:      []seer.Library{{Name: "later", Files: map[string]string{"__init__.py": "x = 3\n"}}},
		CustomInitCode: "ready += ' indeed'",
	}))
	assert.Equal(t, "3 yes indeed", strings.TrimSpace(text(t, session, "import later\nprint(later.x, ready)")))
	assert.Contains(t, cellSources(session), "later.x")
	assert.NotContains(t, cellSources(session), "indeed'")

	_, err = seer.NewNotebookSession(t.Context(), sandbox, &seer.Workspace{CustomInitCode: "1/0"}, &seer.NotebookOptions{OutputDir: t.TempDir()})
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
}

func cellSources(session *seer.NotebookSession) string {
	var b strings.Builder
	for _, cell := range session.Cells() {
		b.WriteString(cell.Source + "\n")
	}
	return b.String()
}

func testKernelDeath(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, &seer.Workspace{CustomInitCode: "begun = True"}, seer.NotebookOptions{})
	_, err := session.Exec(within(t, patience), "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	_, err = session.Exec(within(t, patience), "1")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	require.ErrorContains(t, err, "Restart gives a new one")
	require.NoError(t, session.Restart(within(t, patience)))
	assert.Equal(t, "True", text(t, session, "begun"))
}

func testSideBySide(t *testing.T, sandbox *seer.Sandbox) {
	const agents = 3
	var wait sync.WaitGroup
	for i := range agents {
		wait.Go(func() {
			session, err := seer.NewNotebookSession(within(t, 2*time.Minute), sandbox, nil, &seer.NotebookOptions{OutputDir: t.TempDir()})
			if !assert.NoError(t, err) {
				return
			}
			code := "mine = globals().get('mine', 0) + 1\nmine"
			for n := range 3 {
				result, err := session.Exec(within(t, patience), code)
				assert.NoError(t, err)
				assert.Equal(t, string(rune('1'+n)), result.Text(), "agent %d", i)
			}
			assert.NoError(t, session.Close(within(t, patience)))
		})
	}
	wait.Wait()
}

// A cell shows what its latest run shows, also when another had not ended.
func testEditWhileItRuns(t *testing.T, sandbox *seer.Sandbox) {
	begun := make(chan struct{}, 1)
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{OnOutput: func(_ seer.Cell, o seer.Output) {
		if strings.Contains(o.Text, "begun") {
			begun <- struct{}{}
		}
	}})
	running := make(chan error, 1)
	go func() {
		_, err := session.Exec(within(t, patience), "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('/tmp/edited'): time.sleep(0.01)\nprint('of the old source')")
		running <- err
	}()
	<-begun
	cell := session.Cells()[0]
	edited := make(chan error, 1)
	go func() {
		_, err := session.EditCell(within(t, patience), cell.ID, "print('of the new source')")
		edited <- err
	}()
	require.Eventually(t, func() bool { return session.Cells()[0].Outputs == nil }, time.Minute, time.Millisecond)
	require.NoError(t, sandbox.WriteFile(t.Context(), "/tmp/edited", nil))
	require.NoError(t, <-running)
	require.NoError(t, <-edited)
	shown := session.Cells()[0]
	assert.Equal(t, "print('of the new source')", shown.Source)
	assert.Equal(t, "of the new source\n", (&seer.Result{Outputs: shown.Outputs}).Text())
}

// A new notebook replaces nobody's file, and one that did not begin leaves none.
func testTakenNotebookNames(t *testing.T, sandbox *seer.Sandbox) {
	const mine = "/workspace/mine.ipynb"
	require.NoError(t, sandbox.WriteFile(t.Context(), mine, []byte("precious")))
	_, err := seer.NewNotebookSession(within(t, patience), sandbox, nil, &seer.NotebookOptions{Name: "mine", OutputDir: t.TempDir()})
	require.ErrorIs(t, err, os.ErrExist)
	data, err := sandbox.ReadFile(t.Context(), mine)
	require.NoError(t, err)
	assert.Equal(t, "precious", string(data))

	failing := &seer.Workspace{CustomInitCode: "1/0"}
	_, err = seer.NewNotebookSession(within(t, patience), sandbox, failing, &seer.NotebookOptions{Name: "again", OutputDir: t.TempDir()})
	var raised *seer.KernelError
	require.ErrorAs(t, err, &raised)
	startNotebook(t, sandbox, nil, seer.NotebookOptions{Name: "again"})
}

// What is large is in the result and in both files.
func testLargeOutput(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{Name: "large", OutputLimit: 64 << 20})
	size := 20 << 20
	if longtest.Wanted() {
		size = 50 << 20
	}
	result, err := session.Exec(within(t, patience), fmt.Sprintf("print('x' * %d)", size))
	require.NoError(t, err)
	assert.False(t, result.Incomplete)
	assert.Len(t, result.Text(), size+1)
	_, err = session.AddMarkdown("after it")
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		end, err := sandbox.Exec(t.Context(), "tail -c 1000 /workspace/large.ipynb")
		require.NoError(c, err)
		assert.Contains(c, end, "after it")
	}, time.Minute, 10*time.Millisecond)

	// Whatever others do to the file, the next change puts it right.
	for _, meddle := range []string{"sed -i s/x/y/ large.ipynb", "rm large.ipynb", "echo >>large.ipynb"} {
		_, err = sandbox.Exec(t.Context(), "cd /workspace && "+meddle)
		require.NoError(t, err)
		_, err = session.AddMarkdown(meddle)
		require.NoError(t, err)
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			end, err := sandbox.Exec(t.Context(), "tail -c 1000 /workspace/large.ipynb")
			require.NoError(c, err)
			assert.Contains(c, end, meddle)
		}, time.Minute, 10*time.Millisecond)
	}
	closeSession(t, session)
	local, err := os.ReadFile(session.NotebookPath())
	require.NoError(t, err)
	assert.Greater(t, len(local), size)
	there, err := sandbox.ReadFile(within(t, patience), "/workspace/large.ipynb")
	require.NoError(t, err)
	assert.True(t, string(local) == string(there), "both files are the same") //nolint:testifylint // too long to show
	assert.Contains(t, string(local[len(local)-1000:]), "after it")
}

func testResumeAndFork(t *testing.T, sandbox *seer.Sandbox) {
	dir := t.TempDir()
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{Name: "first", OutputDir: dir})
	text(t, session, "x = 20")
	_, err := session.Exec(within(t, patience), "y")
	require.Error(t, err)
	text(t, session, "x += 1\nx")
	closeSession(t, session)
	original, err := os.ReadFile(session.NotebookPath())
	require.NoError(t, err)

	fork := startNotebook(t, sandbox, nil, seer.NotebookOptions{Fork: session.NotebookPath(), Name: "second"})
	assert.Equal(t, "42", text(t, fork, "x * 2"))
	rerun := fork.Rerun()
	require.Len(t, rerun, 3)
	require.NoError(t, rerun[0].Err)
	var raised *seer.KernelError
	require.ErrorAs(t, rerun[1].Err, &raised)
	assert.Equal(t, "NameError", raised.Name)
	require.NoError(t, rerun[2].Err)
	closeSession(t, fork)
	untouched, err := os.ReadFile(session.NotebookPath())
	require.NoError(t, err)
	assert.Equal(t, string(original), string(untouched))

	resumed := startNotebook(t, sandbox, nil, seer.NotebookOptions{Resume: session.NotebookPath()})
	text(t, resumed, "z = 1")
	closeSession(t, resumed)
	var file struct {
		Cells []json.RawMessage `json:"cells"`
	}
	data, err := os.ReadFile(session.NotebookPath())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &file))
	assert.Len(t, file.Cells, 4)
}

func testNotebookTools(t *testing.T, sandbox *seer.Sandbox) {
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	client := agent(t, onlyServer(t, session), nil)
	assert.ElementsMatch(t, []string{"execute_code", "add_markdown", "edit_cell", "read_notebook", "interrupt", "restart"}, toolNames(t, client))
	assert.Contains(t, words(t, call(t, client, "execute_code", map[string]any{"code": "n = 6\nn * 7"})), "42")
	failed := call(t, client, "execute_code", map[string]any{"code": "1/0"})
	assert.True(t, failed.IsError)
	assert.Contains(t, words(t, failed), "ZeroDivisionError")
	call(t, client, "add_markdown", map[string]any{"source": "# Notes"})
	cells := session.Cells()
	require.Len(t, cells, 3)
	edited := call(t, client, "edit_cell", map[string]any{"cell": cells[1].ID, "source": "n / 2", "run": true})
	assert.Contains(t, words(t, edited), "3.0")
	notebook := words(t, call(t, client, "read_notebook", nil))
	for _, want := range []string{cells[0].ID, "n * 7", "42", "n / 2", "3.0", "# Notes"} {
		assert.Contains(t, notebook, want)
	}
	assert.NotContains(t, notebook, "ZeroDivisionError")
	call(t, client, "restart", nil)
	assert.Contains(t, words(t, call(t, client, "execute_code", map[string]any{"code": "n"})), "NameError")
}

// Without any port, the session goes through the streams of commands.
func TestNotebookWithoutNetwork(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook, BlockNetwork: true})
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	assert.Empty(t, sandbox.JupyterURL())
	assert.Equal(t, "cut off", strings.TrimSpace(text(t, session, "print('cut off')")))
	assert.Equal(t, "1000000", text(t, session, "len('x' * 10**6)"))
}

// It is up before the first command could ask for it.
func TestJupyterBootsWithTheSandbox(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	server.Delay("TaskExecStart", 5*time.Second)
	sandbox := startOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
	server.Heal()
	marks, err := sandbox.Exec(t.Context(), `read -r pid began </run/seer/Jupyter/process; grep -czE '^(SEER_EXEC|HOME)=' /proc/$pid/environ`)
	require.NoError(t, err)
	assert.Equal(t, "1", strings.TrimSpace(marks), "no command has started it")
}

func TestNotebookModeFromSnapshot(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	// An empty package is enough of JupyterLab to see that it would open.
	config := seer.SandboxConfig{
		ExecutionMode: seer.ModeNotebook,
		SetupCommands: []string{`mkdir "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/jupyterlab"`},
	}
	first := startOn(t, server, config)
	opened := redirect(t, first.JupyterURL())
	assert.Equal(t, "/lab", opened.Path)
	assert.NotEmpty(t, opened.Query().Get("token"))
	settings, err := first.ReadFile(t.Context(), "/root/.jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings")
	require.NoError(t, err)
	assert.Contains(t, string(settings), `"fetchNews": "false"`, "it does not ask whether it may")
	snapshot, err := first.Snapshot(t.Context(), "with Jupyter")
	require.NoError(t, err)
	restored, err := seer.FromSnapshot(within(t, 2*time.Minute), snapshot, config, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	assert.NotEmpty(t, restored.JupyterURL())
	assert.NotEqual(t, first.JupyterURL(), restored.JupyterURL())
	assert.Equal(t, "3", text(t, startNotebook(t, restored, nil, seer.NotebookOptions{}), "1+2"))
}

// redirect is where a browser goes on from an address.
func redirect(t *testing.T, address string) *url.URL {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(within(t, patience), http.MethodGet, address, nil)
	require.NoError(t, err)
	response, err := client.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	location, err := response.Location()
	require.NoError(t, err)
	return location
}

// What cannot be started is an error that says why, at once.
func TestJupyterThatCannotStart(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	_, err := seer.NewSandbox(seer.SandboxConfig{
		ExecutionMode: seer.ModeNotebook,
		SetupCommands: []string{`echo 'raise SystemExit("disk on fire")' >"$(python -c 'import jupyter_server; print(jupyter_server.__path__[0])')/__main__.py"`},
	}, seer.WithBackend(server.Backend())).Start(within(t, 5*time.Minute))
	var failed *seer.StartError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "start Jupyter", failed.Step)
	assert.Contains(t, err.Error(), "disk on fire")
	assert.Empty(t, server.Sandboxes())

	sandbox := startOn(t, server, seer.SandboxConfig{NotebookPackages: []string{"jupyter_server==0.0.0.1"}})
	_, err = seer.NewNotebookSession(within(t, patience), sandbox, nil, &seer.NotebookOptions{OutputDir: t.TempDir()})
	require.ErrorContains(t, err, "jupyter_server==0.0.0.1")
}
