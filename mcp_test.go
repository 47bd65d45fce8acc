package seer_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// onlyServer returns the one server of a session's config.
func onlyServer(t *testing.T, session seer.Session) seer.MCPServer {
	t.Helper()
	config := session.MCPConfig()
	require.Len(t, config, 1)
	for _, server := range config {
		return server
	}
	return seer.MCPServer{}
}

// withHeaders sends the headers of a config.
type withHeaders struct {
	headers map[string]string
	next    *http.Transport
}

func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range w.headers {
		r.Header.Set(name, value)
	}
	return w.next.RoundTrip(r)
}

// agent connects an MCP client as an agent would, by the config alone.
func agent(t *testing.T, server seer.MCPServer, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	transport := &http.Transport{}
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, opts)
	session, err := client.Connect(within(t, patience), &mcp.StreamableClientTransport{
		Endpoint:   server.URL,
		HTTPClient: &http.Client{Transport: withHeaders{server.Headers, transport}},
		MaxRetries: -1,
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = session.Close() // the server may be gone, on purpose
		transport.CloseIdleConnections()
	})
	return session
}

func call(t *testing.T, agent *mcp.ClientSession, tool string, arguments map[string]any) *mcp.CallToolResult {
	t.Helper()
	result, err := agent.CallTool(within(t, patience), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	require.NoError(t, err)
	return result
}

func words(t *testing.T, result *mcp.CallToolResult) string {
	t.Helper()
	var all []string
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			all = append(all, text.Text)
		}
	}
	return strings.Join(all, "\n")
}

func toolNames(t *testing.T, agent *mcp.ClientSession) []string {
	t.Helper()
	var names []string
	for tool, err := range agent.Tools(t.Context(), nil) {
		require.NoError(t, err)
		assert.NotEmpty(t, tool.Description)
		names = append(names, tool.Name)
	}
	return names
}

func TestMCPConfigIsWhatAgentsRead(t *testing.T) {
	session := startLocal(t, nil, &seer.LocalOptions{Name: "mine"})
	config := session.MCPConfig()
	assert.Equal(t, config, session.MCPConfig(), "one server, however often it is asked for")
	data, err := json.Marshal(config)
	require.NoError(t, err)
	server := config["mine"]
	assert.JSONEq(t, `{"mine":{"type":"http","url":"`+server.URL+`","headers":{"Authorization":"`+server.Headers["Authorization"]+`"}}}`, string(data))
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/mcp$`, server.URL)
	assert.Regexp(t, `^Bearer \w{40,}$`, server.Headers["Authorization"])

	other := onlyServer(t, startLocal(t, nil, nil))
	assert.NotEqual(t, server.URL, other.URL)
	assert.NotEqual(t, server.Headers, other.Headers)

	stdio, err := json.Marshal(seer.MCPServer{Type: "stdio", Command: "/usr/bin/seer", Args: []string{"mcp"}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"stdio","command":"/usr/bin/seer","args":["mcp"]}`, string(stdio))
}

func TestMCPRefusesStrangers(t *testing.T) { // D1
	session := startLocal(t, nil, nil)
	server := onlyServer(t, session)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	token := server.Headers["Authorization"]
	for name, headers := range map[string]http.Header{
		"no token":     {},
		"wrong token":  {"Authorization": {"Bearer " + strings.Repeat("A", 52)}},
		"part of it":   {"Authorization": {token[:len(token)-1]}},
		"empty":        {"Authorization": {"Bearer "}},
		"other scheme": {"Authorization": {"Basic " + strings.TrimPrefix(token, "Bearer ")}},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			request, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
			require.NoError(t, err)
			request.Header = headers.Clone()
			response, err := client.Do(request)
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			assert.Equal(t, http.StatusUnauthorized, response.StatusCode, "%s %s", method, name)
			assert.NotContains(t, string(body), strings.TrimPrefix(token, "Bearer "))
		}
	}
}

func TestMCPPython(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)
	agent := agent(t, onlyServer(t, session), nil)
	assert.ElementsMatch(t, []string{"run_python", "interrupt", "restart", "read_file", "write_file", "list_files", "upload_file"}, toolNames(t, agent))

	call(t, agent, "run_python", map[string]any{"code": "x = 20"})
	assert.Equal(t, "hi\n21", words(t, call(t, agent, "run_python", map[string]any{"code": "print('hi'); x + 1"})))
	assert.Equal(t, "21", textOf(t, session, "x + 1"), "agent and program share the interpreter")
	assert.Equal(t, "(no output)", words(t, call(t, agent, "run_python", map[string]any{"code": "None"})))

	failed := call(t, agent, "run_python", map[string]any{"code": "print('before')\n1/0"})
	assert.True(t, failed.IsError)
	assert.Contains(t, words(t, failed), "before\nTraceback")
	assert.Equal(t, 1, strings.Count(words(t, failed), "ZeroDivisionError"))

	var picture bytes.Buffer
	require.NoError(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 1))))
	code := fmt.Sprintf("import base64\nclass P:\n    def _repr_png_(self): return base64.b64decode(%q)\nprint('see')\nP()",
		base64.StdEncoding.EncodeToString(picture.Bytes()))
	pictured := call(t, agent, "run_python", map[string]any{"code": code})
	require.Len(t, pictured.Content, 2)
	shown, ok := pictured.Content[1].(*mcp.ImageContent)
	require.True(t, ok)
	assert.Equal(t, "image/png", shown.MIMEType)
	assert.Equal(t, picture.Bytes(), shown.Data)

	long := words(t, call(t, agent, "run_python", map[string]any{"code": "print('a' * 10_000_000 + 'the end')"}))
	assert.Less(t, len(long), 101_000)
	assert.Contains(t, long, "bytes left out")
	assert.Contains(t, long, "the end")

	call(t, agent, "restart", nil)
	assert.Contains(t, words(t, call(t, agent, "run_python", map[string]any{"code": "x"})), "NameError")
	died := call(t, agent, "run_python", map[string]any{"code": "print('last words', flush=True)\nimport os; os._exit(3)"})
	assert.True(t, died.IsError)
	assert.Contains(t, words(t, died), "last words")
	assert.Contains(t, words(t, died), "python interpreter died")
}

func TestMCPFilesStayInside(t *testing.T) {
	session := startLocal(t, nil, nil)
	agent := agent(t, onlyServer(t, session), nil)
	call(t, agent, "write_file", map[string]any{"path": "sub/a.txt", "content": "text"})
	assert.Equal(t, "text", words(t, call(t, agent, "read_file", map[string]any{"path": filepath.Join(session.WorkspacePath(), "sub/a.txt")})))
	call(t, agent, "upload_file", map[string]any{"path": "sub/b.bin", "data": base64.StdEncoding.EncodeToString([]byte{0, 255})})
	assert.Equal(t, "         4  a.txt\n         2  b.bin\n", words(t, call(t, agent, "list_files", map[string]any{"path": "sub"})))
	assert.Contains(t, words(t, call(t, agent, "list_files", nil)), "dir  sub")
	require.NoError(t, os.Symlink("/etc", filepath.Join(session.WorkspacePath(), "way-out")))
	for tool, arguments := range map[string]map[string]any{
		"read_file":   {"path": "sub/b.bin"},
		"write_file":  {"path": "/etc/made", "content": ""},
		"list_files":  {"path": "../.."},
		"upload_file": {"path": "x", "source": "/etc/hostname"},
	} {
		assert.True(t, call(t, agent, tool, arguments).IsError, tool)
	}
	assert.True(t, call(t, agent, "read_file", map[string]any{"path": "way-out/hostname"}).IsError)
}

func TestMCPShell(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	uploads := write(t, map[string]string{"set/one.txt": "1", "set/two.txt": "2"})
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(uploads, "link")))
	session := startCLI(t, sandbox, nil, &seer.CLIOptions{UploadDir: uploads})
	agent := agent(t, onlyServer(t, session), nil)
	assert.Subset(t, toolNames(t, agent), []string{"run_command", "run_python", "read_file", "write_file", "list_files", "upload_file"})

	assert.Equal(t, "/workspace\n", words(t, call(t, agent, "run_command", map[string]any{"command": "pwd"})))
	assert.Equal(t, "noise\n", words(t, call(t, agent, "run_command", map[string]any{"command": "echo noise >&2"})))
	failed := call(t, agent, "run_command", map[string]any{"command": "printf half; exit 3"})
	assert.True(t, failed.IsError)
	assert.Equal(t, "half\n[exit status 3]", words(t, failed))
	assert.Equal(t, "42", words(t, call(t, agent, "run_python", map[string]any{"code": "6 * 7"})))

	call(t, agent, "write_file", map[string]any{"path": "deep/note.txt", "content": "ä"})
	assert.Equal(t, "ä", words(t, call(t, agent, "read_file", map[string]any{"path": "/workspace/deep/note.txt"})))
	call(t, agent, "upload_file", map[string]any{"path": "set", "source": "set"})
	assert.Equal(t, "         1  one.txt\n         1  two.txt\n", words(t, call(t, agent, "list_files", map[string]any{"path": "set"})))
	for _, source := range []string{"../x", "/etc/hostname", "link", "missing"} {
		assert.True(t, call(t, agent, "upload_file", map[string]any{"path": "stolen", "source": source}).IsError, source)
	}
	assert.True(t, call(t, agent, "read_file", map[string]any{"path": "stolen"}).IsError)

	call(t, agent, "run_command", map[string]any{"command": "truncate -s 100M large; mkfifo pipe"})
	for path, why := range map[string]string{
		"large": "100.0 MiB is too much", "/dev/zero": "not a regular file", "pipe": "not a regular file", "/": "is a directory", "missing": "read /workspace/missing",
	} {
		refused := call(t, agent, "read_file", map[string]any{"path": path})
		assert.True(t, refused.IsError, path)
		assert.Contains(t, words(t, refused), why)
	}
}

func TestMCPReportsProgressAndCancels(t *testing.T) {
	session := startLocal(t, nil, nil)
	reached := make(chan string, 100)
	agent := agent(t, onlyServer(t, session), &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, request *mcp.ProgressNotificationClientRequest) {
			reached <- request.Params.Message
		},
	})
	begin := func(ctx context.Context, code string) <-chan error {
		done := make(chan error, 1)
		params := &mcp.CallToolParams{Name: "run_python", Arguments: map[string]any{"code": code}}
		params.SetProgressToken(code)
		go func() {
			_, err := agent.CallTool(ctx, params)
			done <- err
		}()
		return done
	}
	await := func(word string) {
		for !strings.Contains(<-reached, word) {
		}
	}
	waiting := "import os, time\nprint('halfway')\nwhile not os.path.exists('go'): time.sleep(0.005)"
	done := begin(within(t, patience), waiting)
	await("halfway")
	require.NoError(t, os.WriteFile(filepath.Join(session.WorkspacePath(), "go"), nil, 0o600))
	require.NoError(t, <-done)

	ctx, cancel := context.WithCancel(t.Context())
	done = begin(ctx, "try:\n    print('sleeping'); time.sleep(600)\nexcept KeyboardInterrupt:\n    stopped = True\n    raise")
	await("sleeping")
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.Equal(t, "True", textOf(t, session, "stopped"), "the code itself was interrupted")
}

func TestMCPManyAgents(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	var group sync.WaitGroup
	for range 3 {
		session := startCLI(t, sandbox, nil, nil)
		for range 3 {
			agent := agent(t, onlyServer(t, session), nil)
			group.Go(func() {
				for range 5 {
					result, err := agent.CallTool(t.Context(), &mcp.CallToolParams{Name: "run_command", Arguments: map[string]any{"command": "echo ok"}})
					if assert.NoError(t, err) {
						assert.Equal(t, "ok\n", words(t, result))
					}
				}
			})
		}
	}
	group.Wait()
}

func TestMCPEndsWithItsSession(t *testing.T) {
	session, err := seer.NewLocalSession(t.Context(), nil, t.TempDir(), nil)
	require.NoError(t, err)
	server := onlyServer(t, session)
	agent := agent(t, server, nil)
	marker := filepath.Join(session.WorkspacePath(), "started")
	failed := make(chan bool, 1)
	go func() {
		result, err := agent.CallTool(t.Context(), &mcp.CallToolParams{Name: "run_python", Arguments: map[string]any{"code": "open('started', 'w').close()\nimport time; time.sleep(600)"}})
		failed <- err != nil || result.IsError
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(marker); return err == nil }, time.Minute, 5*time.Millisecond)
	require.NoError(t, session.Close(t.Context()))
	assert.True(t, <-failed, "a call under way ends with an error")
	_, err = http.DefaultClient.Get(server.URL)
	require.Error(t, err)
}

func TestMCPHandlerIsMountedElsewhere(t *testing.T) {
	session := startLocal(t, nil, nil)
	mounted := httptest.NewServer(session.MCPHandler())
	t.Cleanup(mounted.Close)
	agent := agent(t, seer.MCPServer{URL: mounted.URL}, nil)
	assert.Equal(t, "2", words(t, call(t, agent, "run_python", map[string]any{"code": "1 + 1"})))
	require.NoError(t, agent.Close())
}

func TestServeMCP(t *testing.T) {
	session := startLocal(t, nil, nil)
	serve := func(ctx context.Context) (*mcp.ClientSession, <-chan error) {
		in, clientOut := io.Pipe()
		clientIn, out := io.Pipe()
		served := make(chan error, 1)
		go func() { served <- session.ServeMCP(ctx, in, out) }()
		client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
		agent, err := client.Connect(t.Context(), &mcp.IOTransport{Reader: clientIn, Writer: clientOut}, nil)
		require.NoError(t, err)
		t.Cleanup(func() { _ = errors.Join(agent.Close(), in.Close(), out.Close()) })
		return agent, served
	}

	agent, served := serve(t.Context())
	assert.Equal(t, "2", words(t, call(t, agent, "run_python", map[string]any{"code": "1 + 1"})))
	require.NoError(t, agent.Close())
	require.NoError(t, <-served, "the client has gone")

	ctx, cancel := context.WithCancel(t.Context())
	agent, served = serve(ctx)
	assert.Equal(t, "2", words(t, call(t, agent, "run_python", map[string]any{"code": "1 + 1"})))
	cancel()
	require.ErrorIs(t, <-served, context.Canceled)
}
