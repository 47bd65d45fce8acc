//go:build linux

package escape_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// serviceAttempts replace what the owner's program talks to in a sandbox, and
// ask what it serves for more than it is to give.
var serviceAttempts = []attempt{
	{name: "a served function redirects its caller to the host", program: func(ctx context.Context, p *program) string {
		before := p.secret.Load()
		got := p.impostor(ctx, `self.reply(302, b"", ("Location", "%s/secret"))`)
		if p.secret.Load() != before {
			return "the owner's program was sent to its own loopback"
		}
		return got
	}},
	{name: "a served function repeats its caller's call on the host", program: func(ctx context.Context, p *program) string {
		before := p.secret.Load()
		got := p.impostor(ctx, `self.reply(307, b"", ("Location", "%s/secret"))`)
		if p.secret.Load() != before {
			return "the owner's program was sent to its own loopback"
		}
		return got
	}},
	{name: "headers without an end", program: func(ctx context.Context, p *program) string {
		return p.grown(150<<20, func() string {
			return p.impostor(ctx, `self.wfile.write(b"HTTP/1.1 200 OK\r\n")
for n in range(2000): self.wfile.write(b"x-%%d: " %% n + b"x" * 100000 + b"\r\n") # %s`)
		})
	}},
	{name: "an answer that comes drop by drop", program: func(ctx context.Context, p *program) string {
		return p.impostor(ctx, `self.reply(200, None)
while True: self.wfile.write(b" "); time.sleep(0.05) # %s`)
	}},
	{name: "an answer that never comes", program: func(ctx context.Context, p *program) string {
		return p.impostor(ctx, `time.sleep(1000) # %s`)
	}},
	{name: "answers that are none", program: func(ctx context.Context, p *program) string {
		bodies := `[b"null", b"[[[[", b'{"result": ', b'{"error": {"type": 1, "message": [], "traceback": {}}}', b'"\\ud800"', b"1e999", b"{}", b""]`
		return p.impostor(ctx, "self.reply(500 if self.count %% 2 else 200, "+bodies+"[self.count // 2 %% 8]) # %s")
	}},
	{name: "an error without an end", program: func(ctx context.Context, p *program) string {
		return p.grown(200<<20, func() string {
			return p.impostor(ctx, `self.reply(500, None)
for _ in range(300): self.wfile.write(b"x" * 1000000) # %s`)
		})
	}},
	{name: "connections to a server of functions that say nothing", program: func(ctx context.Context, p *program) string {
		return p.served(ctx, func(scoped *seer.ScopedSandbox, service *seer.Service) string {
			cmd := scoped.Command("python", "-c", `
import resource, socket, time
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(1500):
    try: held.append(socket.create_connection(("127.0.0.1", 8080), timeout=0.2))
    except OSError: break
print("held", flush=True)
time.sleep(1000)
`)
			holding, stop := context.WithCancel(ctx)
			defer stop()
			output := &awaited{word: "held", seen: make(chan struct{})}
			cmd.Stdout = output
			if err := cmd.Start(holding); err != nil {
				return err.Error()
			}
			select {
			case <-output.seen:
			case <-ctx.Done():
				return "the agent never held them"
			}
			limited, cancel := context.WithTimeout(ctx, endLimit)
			defer cancel()
			answer, err := seer.CallAs[string](limited, service, "shout", map[string]any{"text": "hi"})
			stop()
			_ = cmd.Wait()
			if err != nil || answer != "HI" {
				return outf("the function does not answer: %q, %v", answer, err)
			}
			return ""
		})
	}},
	{name: "another sandbox by the tools of a manager", owner: func(t *testing.T, w *world) string {
		tagged := w.start(t, seer.SandboxConfig{Tags: map[string]string{"team": "agent"}})
		manager, err := seer.NewManager(t.Context(), &seer.ManagerOptions{Filter: seer.Filter{Tags: map[string]string{"team": "agent"}}}, seer.WithBackend(w.server.Backend()))
		require.NoError(t, err)
		defer func() { require.NoError(t, manager.Close(t.Context())) }()
		agent := connect(t, manager)
		id := w.neighbour.SandboxID()
		text := callTool(t, agent, "list_sandboxes", map[string]any{}) + callTool(t, agent, "list_sandboxes", map[string]any{"tags": map[string]string{"team": "other"}})
		if !strings.Contains(text, tagged.SandboxID()) {
			t.Errorf("the manager does not find its own: %s", text)
		}
		for _, name := range []string{id, " " + id, id + "\n", strings.ToLower(id), tagged.SandboxID() + "," + id, "../" + id} {
			text += callTool(t, agent, "run_command", map[string]any{"sandbox": name, "command": "cat /root/marker"})
			text += callTool(t, agent, "read_file", map[string]any{"sandbox": name, "path": "/root/marker"})
			text += callTool(t, agent, "write_file", map[string]any{"sandbox": name, "path": "/root/marker", "content": "x"})
			text += callTool(t, agent, "sandbox_info", map[string]any{"sandbox": name})
			text += callTool(t, agent, "snapshot_sandbox", map[string]any{"sandbox": name})
			text += callTool(t, agent, "terminate_sandbox", map[string]any{"sandbox": name})
		}
		if strings.Contains(text, "image_id") {
			return "the neighbour was saved"
		}
		if got := w.leaked(text); got != "" {
			return got
		}
		return w.alive(t.Context(), w.neighbour)
	}},
	{name: "the owner's files by the tool for uploads", owner: func(t *testing.T, w *world) string {
		uploads := t.TempDir()
		require.NoError(t, os.Symlink(w.dir, filepath.Join(uploads, "link")))
		session, err := seer.NewCLISession(t.Context(), w.agent, nil, &seer.CLIOptions{UploadDir: uploads})
		require.NoError(t, err)
		defer func() { require.NoError(t, session.Close(t.Context())) }()
		agent := connect(t, session)
		text := ""
		for _, source := range []string{w.secret, w.dir, "link", "link/secret.txt", "../" + filepath.Base(w.dir), "..", "/", "file://" + w.secret, uploads + "/../../.." + w.secret, "./link/"} {
			callTool(t, agent, "upload_file", map[string]any{"path": "got", "source": source})
			text += callTool(t, agent, "run_command", map[string]any{"command": "cat got got/* got/*/*; rm -rf got"})
		}
		return w.leaked(text)
	}},
	{name: "the tools of a session without their token", owner: func(t *testing.T, w *world) string {
		session, err := seer.NewCLISession(t.Context(), w.agent, nil, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, session.Close(t.Context())) }()
		for _, server := range session.MCPConfig() {
			for _, token := range []string{"", "Bearer", "Bearer ", "Bearer x", "bearer null", strings.TrimSuffix(server.Headers["Authorization"], "x")[:10]} {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`))
				require.NoError(t, err)
				request.Header.Set("Content-Type", "application/json")
				request.Header.Set("Accept", "application/json, text/event-stream")
				request.Header.Set("Authorization", token)
				response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
				require.NoError(t, err)
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if response.StatusCode < 400 {
					return outf("%q is answered: %s", token, body)
				}
			}
		}
		return ""
	}},
	{name: "the tools of a session by another name of this machine", owner: func(t *testing.T, w *world) string {
		session, err := seer.NewCLISession(t.Context(), w.agent, nil, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, session.Close(t.Context())) }()
		for _, server := range session.MCPConfig() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(`{}`))
			require.NoError(t, err)
			request.Host = "rebound.example.com"
			request.Header.Set("Origin", "https://rebound.example.com")
			request.Header.Set("Authorization", server.Headers["Authorization"])
			response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
			require.NoError(t, err)
			_ = response.Body.Close()
			if response.StatusCode < 400 {
				return "a page of another origin is answered"
			}
		}
		return ""
	}},
	{name: "more arguments than a tool takes", owner: func(t *testing.T, w *world) string {
		session, err := seer.NewCLISession(t.Context(), w.agent, nil, nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, session.Close(t.Context())) }()
		agent := connect(t, session)
		for _, arguments := range []any{nil, 1, "x", []int{1}, map[string]any{"command": 1}, map[string]any{"command": "true", "timeout_seconds": -1}, map[string]any{"path": "\x00"}, map[string]any{"command": strings.Repeat("x", 3<<20)}} {
			for _, tool := range []string{"run_command", "read_file", "run_python", "list_files"} {
				_, _ = agent.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
			}
		}
		return w.leaked(callTool(t, agent, "run_command", map[string]any{"command": "echo alive"}))
	}},
}

// served lends a sandbox that serves a function.
func (p *program) served(ctx context.Context, use func(*seer.ScopedSandbox, *seer.Service) string) string {
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}, seer.WithBackend(p.backend)).Start(ctx)
	if err != nil {
		return err.Error()
	}
	file := filepath.Join(p.dir, "tools.py")
	if err := os.WriteFile(file, []byte("@expose\ndef shout(text: str) -> str: return text.upper()\n"), 0o600); err != nil {
		return err.Error()
	}
	service, err := scoped.Serve(ctx, file, nil)
	if err != nil {
		return err.Error()
	}
	got := use(scoped, service)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	if err := scoped.Terminate(ending); err != nil && got == "" {
		return outf("the sandbox cannot be ended: %v", err)
	}
	return got
}

// impostor has an agent take the place of the server of functions and answer
// calls with some Python code, in which %s is the owner's service on loopback.
func (p *program) impostor(ctx context.Context, answer string) string {
	return p.served(ctx, func(scoped *seer.ScopedSandbox, service *seer.Service) string {
		answer := strings.ReplaceAll(fmt.Sprintf(answer, p.service.URL), "\n", "\n        ")
		cmd := scoped.Command("python", "-c", `
import http.server, os, signal, time
os.kill(int(open("/run/seer/functions/process").read().split()[0]), signal.SIGKILL)
class Answer(http.server.BaseHTTPRequestHandler):
    count = 0
    def reply(self, status, body, *headers):
        self.send_response(status)
        for header in headers: self.send_header(*header)
        self.send_header("Content-Type", "application/json")
        if body is not None: self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body: self.wfile.write(body)
    def answer(self):
        Answer.count += 1
        self.close_connection = True
        `+answer+`
    do_GET = do_POST = do_DELETE = answer
    def log_message(self, *arguments): pass
while True:
    try: server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer); break
    except OSError: time.sleep(0.05)
print("serving", flush=True)
server.serve_forever()
`)
		holding, stop := context.WithCancel(ctx)
		output := &awaited{word: "serving", seen: make(chan struct{})}
		cmd.Stdout, cmd.Stderr = output, output
		if err := cmd.Start(holding); err != nil {
			stop()
			return err.Error()
		}
		defer func() { stop(); _ = cmd.Wait() }()
		select {
		case <-output.seen:
		case <-ctx.Done():
			return "the agent does not serve: " + output.String()
		}
		limited, cancel := context.WithTimeout(ctx, 2*quick)
		defer cancel()
		var result any
		for range 16 {
			_ = service.Call(limited, "shout", map[string]any{"text": "hi"}, &result)
		}
		_ = service.Health(limited)
		if result == "secret" {
			return "the owner's program fetched what it serves itself"
		}
		return ""
	})
}
