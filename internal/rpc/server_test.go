//go:build unix

package rpc_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

func TestErrorsOfTheFile(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	for _, test := range []struct {
		name, source, kind string
		traceback          []string
	}{
		{"syntax", "x = 1\ndef f(:\n    pass\n", "SyntaxError", []string{`File "my/interface.py", line 2`, "def f(:"}},
		{"import", "import os\n\nimport no_such_module\n", "ModuleNotFoundError", []string{`File "my/interface.py", line 3, in <module>`, "import no_such_module"}},
		{"exception", "def load():\n    return 1 / 0\n\nmodel = load()\n", "ZeroDivisionError", []string{"line 4, in <module>", "line 2, in load", "return 1 / 0"}},
		{"nothing exposed", "def f(): pass\n", "NothingExposed", []string{"exposes nothing", "@expose"}},
		{"exit", "import sys\nsys.exit('no GPU')\n", "SystemExit", []string{"line 2", "no GPU"}},
		{"hard exit", "import os\nos._exit(7)\n", "ServiceCrashed", []string{"exit code 7"}},
		{"killed", "import os\nos.kill(os.getpid(), 9)\n", "ServiceCrashed", []string{"SIGKILL"}},
		{"lambda", "expose(lambda x: x)\n", "Unservable", []string{"<lambda>", "line 1"}},
		{"class", "@expose\nclass Model: pass\n", "Unservable", []string{"Model: is a class"}},
		{"no signature", "expose(min)\n", "Unservable", []string{"min: has no signature"}},
		{"no name", "import functools\nexpose(functools.partial(print, 1))\n", "Unservable", []string{"has no name"}},
		{"twice", "@expose\ndef f(): pass\n@expose\ndef f(): pass\n", "Unservable", []string{"f: is exposed twice", "line 3"}},
		{"reserved parameter", "@expose\ndef f(_seer_service): pass\n", "Unservable", []string{"f: parameter _seer_service"}},
		{"several", "@expose\ndef __f(): pass\n@expose\nclass C: pass\n", "Unservable", []string{"__f: names", "C: is a class"}},
		{"unknown model", "get_model_path('gpt')\n", "ValueError", []string{"model 'gpt' is not configured"}},
		{"no text", "@expose\ndef f(x, y=1): pass\nf.__signature__ = 5\n", "Unservable", []string{"f: has no signature", "line 1"}},
		{"no description", "class Odd: __metadata__ = ()\n@expose\ndef f(x: Odd): pass\n", "Unservable", []string{"f: cannot be described", "line 2"}},
		{"null byte", "x = '\x00'\n", "", nil},
		{"not UTF-8", "x = 1\ny = '\xe9'\n", "SyntaxError", []string{`File "my/interface.py", line 2`, "utf-8"}},
		{"odd line ends", "x = '\u2028'\r\n\f\r\nraise ValueError(x)  # here\r\n", "ValueError", []string{"line 3, in <module>\n    raise ValueError(x)  # here"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := server.Load(t.Context(), rpc.Spec{
				Name: "model_tools", Token: "token", Filename: "my/interface.py", Source: test.source,
			}, nil)
			var failed *rpc.LoadError
			require.ErrorAs(t, err, &failed)
			if test.kind != "" {
				assert.Equal(t, test.kind, failed.Type)
			}
			for _, part := range test.traceback {
				assert.Contains(t, failed.Traceback, part)
			}
			assert.NotContains(t, failed.Traceback, "seer_rpc")
			assert.Contains(t, err.Error(), failed.Traceback)
		})
	}
	names, err := server.Services(t.Context())
	require.NoError(t, err)
	assert.Empty(t, names)
}

// Python finds the encoding of an interface file as it does that of any other.
func TestEncodingsOfTheFile(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	for name, source := range map[string]string{
		"utf8": "@expose\ndef f(): return 'é'\n", "mark": "\ufeff@expose\ndef f(): return 'é'\n",
		"latin1": "# -*- coding: latin-1 -*-\n@expose\ndef f(): return '\xe9'\n",
	} {
		client, _ := serve(t, server, name, source)
		var text string
		require.NoError(t, client.Call(t.Context(), "f", nil, &text), name)
		assert.Equal(t, "é", text, name)
	}
}

// Who sends slowly and has no token does not keep a connection, whichever part
// of a request is slow.
func TestSlowStrangersAreLeft(t *testing.T) {
	t.Parallel()
	files, err := rpc.Files()
	require.NoError(t, err)
	dir := t.TempDir()
	for path, data := range files {
		writeFile(t, filepath.Join(dir, filepath.FromSlash(path)), string(data))
	}
	assert.Equal(t, "ok\n", runPython(t, newest(t).path, dir, nil, readFile(t, "testdata/check_slow.py")))
}

func TestSlowLoadReportsProgress(t *testing.T) {
	server := startServer(t, newest(t).path)
	gate := t.TempDir() + "/gate"
	source := fmt.Sprintf(`
import os, sys, time
print("loading weights")
while not os.path.exists(%q):
    time.sleep(0.005)
sys.stderr.write("10%%\r20%%\r")
os.write(1, b"from C, without a newline")
@expose
def f(): return 1
`, gate)
	var lines []string
	_, err := server.Load(t.Context(), rpc.Spec{Name: "slow", Token: "t", Filename: "slow.py", Source: source}, func(line string) {
		if len(lines) == 0 {
			writeFile(t, gate, "") // the file goes on only after its first line was reported
		}
		lines = append(lines, line)
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"loading weights", "10%", "20%", "from C, without a newline"}, lines)
}

func TestLoadIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	ctx, cancel := context.WithCancel(t.Context())
	var pid int
	_, err := server.Load(ctx, rpc.Spec{
		Name: "endless", Token: "t", Filename: "endless.py",
		Source: "import os, time\nprint(os.getpid())\nwhile True: time.sleep(0.01)\n",
	}, func(line string) {
		_, scanErr := fmt.Sscan(line, &pid)
		assert.NoError(t, scanErr)
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	requireProcessEnds(t, pid)
}

// What a caller without the right token gets must not depend on what it asks.
func TestWithoutTokenNothingIsLearnt(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	serve(t, server, "alpha", "@expose\ndef f(): return 1\n")
	serve(t, server, "beta", "@expose\ndef g(): return 1\n")
	base := strings.TrimSuffix(server.ServiceURL("alpha"), "/s/alpha")
	answers := map[string][]string{}
	client := newHTTPClient(t)
	for _, token := range []string{"", "wrong", "Bearer wrong", "Bearer token-of-beta", "Basic token-of-alpha", "Bearer tökén", "Bearer"} {
		for _, target := range []string{
			"GET /", "GET /s", "GET /s/alpha", "GET /s/nothing", "POST /s/alpha/call/f", "POST /s/alpha/call/nothing",
			"POST /s/nothing/call/f", "PUT /s/alpha", "GET /s/alpha/../beta", "GET /s//", "GET /admin/services", "POST /admin/services/x",
			"DELETE /admin/services/alpha", "GET /admin/services/alpha/logs", "GET /healthz", "GET /s/alpha/healthz",
			"GET /s/nothing/healthz?nonce=short", "BREW /s/alpha",
		} {
			method, path, _ := strings.Cut(target, " ")
			request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(`{}`))
			require.NoError(t, err)
			request.Header.Set("Authorization", token)
			response, err := client.Do(request)
			require.NoError(t, err)
			body := drain(response.Body)
			require.NoError(t, response.Body.Close())
			answer := fmt.Sprintf("%s %v %s", response.Status, response.Header, body)
			answers[answer] = append(answers[answer], target+" with "+token)
		}
	}
	assert.Len(t, answers, 1)
	for answer := range answers {
		assert.Contains(t, answer, "401 Unauthorized")
	}

	for _, stranger := range []*rpc.Client{server.Client("alpha", "token-of-beta"), server.Client("nothing", "token-of-alpha")} {
		require.ErrorIs(t, stranger.Call(t.Context(), "f", nil, nil), rpc.ErrUnauthorized)
		_, err := stranger.Describe(t.Context())
		require.ErrorIs(t, err, rpc.ErrUnauthorized)
	}
	_, err := rpc.NewServer(base, "token-of-alpha", client).Services(t.Context())
	require.ErrorIs(t, err, rpc.ErrUnauthorized)
}

func TestHealthProvesIdentity(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "alpha", "@expose\ndef f(): return 1\n")
	require.NoError(t, server.Health(t.Context()))
	require.NoError(t, client.Health(t.Context()))

	base := strings.TrimSuffix(server.ServiceURL("alpha"), "/s/alpha")
	assert.ErrorContains(t, rpc.NewServer(base, "other", newHTTPClient(t)).Health(t.Context()), "does not know the token")
	assert.ErrorContains(t, server.Client("alpha", "other").Health(t.Context()), "does not know the token")
	assert.ErrorContains(t, server.Client("nothing", "token-of-alpha").Health(t.Context()), "does not know the token")
	assert.ErrorContains(t, server.Client("beta", "token-of-alpha").Health(t.Context()), "does not know the token")
}

// A call that never ends does not keep the server from answering.
func TestHealthIsApartFromWork(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "busy", "import time\n@expose(serial=True)\ndef spin():\n  print('spinning')\n  while True: time.sleep(0.01)\n")
	ctx, cancel := context.WithCancel(t.Context())
	var calls errgroup.Group
	for range 3 {
		calls.Go(func() error { return client.Call(ctx, "spin", nil, nil) })
	}
	waitForLog(t, server, "busy", "spinning")
	require.NoError(t, client.Health(t.Context()))
	require.NoError(t, server.Health(t.Context()))
	cancel()
	require.ErrorIs(t, calls.Wait(), context.Canceled)
}

func TestServicesDoNotHurtEachOther(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	source := `
import os, sys, builtins
count = 0
@expose
def bump():
    global count
    count += 1
    builtins.shared = getattr(builtins, "shared", 0) + 1
    os.environ["MARK"] = "x"
    return [count, builtins.shared]
@expose
def mark(): return os.environ.get("MARK")
@expose
def die(code: int): os._exit(code)
@expose
def leave(): sys.exit("bye")
`
	first, _ := serve(t, server, "first", source)
	second, _ := serve(t, server, "second", source)
	var counts []int
	require.NoError(t, first.Call(t.Context(), "bump", nil, &counts))
	require.NoError(t, first.Call(t.Context(), "bump", nil, &counts))
	assert.Equal(t, []int{2, 2}, counts)
	require.NoError(t, second.Call(t.Context(), "bump", nil, &counts))
	assert.Equal(t, []int{1, 1}, counts)

	var failed *rpc.CallError
	require.ErrorAs(t, first.Call(t.Context(), "leave", nil, nil), &failed)
	assert.Equal(t, "SystemExit", failed.Type)
	assert.Equal(t, "bye", failed.Message)
	require.NoError(t, first.Call(t.Context(), "bump", nil, &counts))
	assert.Equal(t, []int{3, 3}, counts, "sys.exit in a call ends nothing")

	require.ErrorAs(t, first.Call(t.Context(), "die", map[string]any{"code": 3}, nil), &failed)
	assert.Equal(t, "ServiceCrashed", failed.Type)
	assert.Equal(t, "the process of service first ended with exit code 3 while die ran", failed.Message)
	require.NoError(t, second.Call(t.Context(), "bump", nil, &counts))
	assert.Equal(t, []int{2, 2}, counts)
	require.NoError(t, first.Call(t.Context(), "bump", nil, &counts), "the service is loaded again by itself")
	assert.Equal(t, []int{1, 1}, counts)
}

// A service that keeps crashing stays down, and says so.
// A failure is told also by a service that closed its output.
func TestClosedOutput(t *testing.T) {
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "mute", "import sys\nsys.stdout.close()\nsys.stderr.close()\n@expose\ndef f(): return 1 / 0\n")
	var failed *rpc.CallError
	require.ErrorAs(t, client.Call(t.Context(), "f", nil, nil), &failed)
	assert.Equal(t, "ZeroDivisionError", failed.Type)
}

func TestTimeoutWhileAServiceLoadsAgain(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	source := fmt.Sprintf(`
import os, threading
if os.path.exists(%[1]q):
    threading.Event().wait()
open(%[1]q, "w").close()
print(os.getpid())
@expose
def f(): pass
`, filepath.Join(t.TempDir(), "loaded"))
	var pid int
	_, err := server.Load(t.Context(), rpc.Spec{
		Name: "stuck", Token: "t", Filename: "stuck.py", Source: source, Timeout: 50 * time.Millisecond,
	}, func(line string) {
		_, scanErr := fmt.Sscan(line, &pid)
		assert.NoError(t, scanErr)
	})
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	waitForLog(t, server, "stuck", "[server] the process of stuck was ended by SIGKILL; loading it again")
	require.ErrorIs(t, server.Client("stuck", "t").Call(t.Context(), "f", nil, nil), context.DeadlineExceeded)
}

func TestCrashLoopEnds(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "crash", "import os\n@expose\ndef die(): os._exit(1)\n")
	for range 10 {
		var failed *rpc.CallError
		require.ErrorAs(t, client.Call(t.Context(), "die", nil, nil), &failed)
		require.Equal(t, "ServiceCrashed", failed.Type)
	}
	description, err := server.Describe(t.Context(), "crash")
	require.NoError(t, err)
	assert.Equal(t, "failed", description.State)
	assert.ErrorContains(t, client.Health(t.Context()), "failed")

	client, _ = serve(t, server, "crash", "@expose\ndef fine(): return 1\n")
	require.NoError(t, client.Call(t.Context(), "fine", nil, nil))
}

func TestReplacingUnderLoad(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	source := func(version int) string {
		return fmt.Sprintf("import time\n@expose\ndef version():\n    time.sleep(0.002)\n    return %d\n", version)
	}
	client, _ := serve(t, server, "swap", source(0))
	ctx, stop := context.WithCancel(t.Context())
	var callers errgroup.Group
	var mutex sync.Mutex
	seen := map[int]int{}
	for range 8 {
		callers.Go(func() error {
			last := 0
			for ctx.Err() == nil {
				var version int
				if err := client.Call(t.Context(), "version", nil, &version); err != nil {
					return err
				}
				if version < last {
					return fmt.Errorf("version %d came after %d", version, last)
				}
				last = version
				mutex.Lock()
				seen[version]++
				mutex.Unlock()
			}
			return nil
		})
	}
	for version := 1; version <= 3; version++ {
		serve(t, server, "swap", source(version))
		var got int
		require.NoError(t, client.Call(t.Context(), "version", nil, &got))
		require.Equal(t, version, got, "the new file serves once Load returns")
	}
	_, err := server.Load(t.Context(), rpc.Spec{Name: "swap", Token: "t", Filename: "bad.py", Source: "1/0"}, nil)
	require.Error(t, err)
	var got int
	require.NoError(t, client.Call(t.Context(), "version", nil, &got))
	require.Equal(t, 3, got, "a file that fails to load replaces nothing")
	stop()
	require.NoError(t, callers.Wait(), "no call fails while the service is replaced")
	assert.Len(t, seen, 4)
}

func TestRunningCallsEndWithAClearWord(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	slow := "import os, time\n@expose\ndef spin(word):\n    print(word, os.getpid())\n    time.sleep(3600)\n"
	for _, test := range []struct {
		kind string
		end  func()
	}{
		{"ServiceReplaced", func() { serve(t, server, "slow", "@expose\ndef f(): pass\n") }},
		{"ServiceRemoved", func() { require.NoError(t, server.Remove(t.Context(), "slow")) }},
	} {
		client, _ := serveSpec(t, server, rpc.Spec{Name: "slow", Source: slow, Drain: time.Millisecond})
		var call errgroup.Group
		call.Go(func() error { return client.Call(t.Context(), "spin", map[string]any{"word": test.kind}, nil) })
		line := waitForLog(t, server, "slow", test.kind)
		test.end()
		var failed *rpc.CallError
		require.ErrorAs(t, call.Wait(), &failed)
		assert.Equal(t, test.kind, failed.Type)
		var pid int
		_, err := fmt.Sscanf(line, test.kind+" %d", &pid)
		require.NoError(t, err)
		requireProcessEnds(t, pid)
	}
	require.ErrorIs(t, server.Remove(t.Context(), "slow"), rpc.ErrNotServed)
}

func TestLogHasPrintsAndTracebacks(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "log", `
import sys
@expose
def say(text: str):
    print(text)
    print("to stderr", file=sys.stderr)
@expose
def fail(secret):
    raise ValueError("no")
`)
	require.NoError(t, client.Call(t.Context(), "say", map[string]any{"text": "grüß\x00Gott"}, nil))
	var failed *rpc.CallError
	require.ErrorAs(t, client.Call(t.Context(), "fail", map[string]any{"secret": "hunter2"}, nil), &failed)
	assert.Empty(t, failed.Traceback)
	require.NoError(t, client.Call(t.Context(), "say", map[string]any{"text": "last"}, nil))
	waitForLog(t, server, "log", "last")
	var text strings.Builder
	for line, err := range server.Logs(t.Context(), "log", 0, false) {
		require.NoError(t, err)
		text.WriteString(line.Line + "\n")
	}
	assert.Contains(t, text.String(), "grüß\x00Gott\nto stderr\nTraceback (most recent call last):\n  File \"interface.py\", line 9, in fail\n")
	assert.Contains(t, text.String(), "ValueError: no\n")
	assert.NotContains(t, text.String(), "hunter2")
	assert.NotContains(t, text.String(), "token-of-log")

	client, _ = serveSpec(t, server, rpc.Spec{Name: "log", Source: "@expose\ndef fail(): raise KeyError('x')\n", Tracebacks: true})
	require.ErrorAs(t, client.Call(t.Context(), "fail", nil, nil), &failed)
	assert.Contains(t, failed.Traceback, `File "interface.py", line 2, in fail`)
	assert.Equal(t, []string{"KeyError", "LookupError"}, failed.Bases)
}

func TestModelsHelpersAndEnvironment(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	dir := t.TempDir()
	writeFile(t, dir+"/lib/helper_of_mine.py", "def where(): return get_model_path('gemma')\n")
	writeFile(t, dir+"/work/beside.py", "here = open('data.txt').read()\n")
	writeFile(t, dir+"/work/data.txt", "data")
	client, _ := serveSpec(t, server, rpc.Spec{
		Name: "models", Dir: dir + "/work", PythonPath: []string{dir + "/lib"}, Env: map[string]string{"FLAVOUR": "mint"},
		Models: []rpc.Model{{Name: "google/gemma", VarName: "gemma", Path: "/models/1"}, {Name: "other", Path: "/models/2"}},
		Source: `
import os, sys, helper_of_mine, beside
try:
    import worker
except ImportError:
    worker = None
@expose
def everything():
    return [get_model_path("google/gemma"), helper_of_mine.where(), list_configured_models(),
            beside.here, os.environ["FLAVOUR"], os.path.basename(__file__), worker, sys.argv[1:2]]
`,
	})
	var got []any
	require.NoError(t, client.Call(t.Context(), "everything", nil, &got))
	assert.Equal(t, []any{
		"/models/1", "/models/1", []any{"google/gemma", "other"}, "data", "mint", "interface.py", nil, []any{"worker"},
	}, got)
}

// Neither the process list nor the environment of the served code has a token.
func TestServedCodeSeesNoToken(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "curious", `
import os, subprocess
@expose
def look():
    found = [repr(dict(os.environ)), " ".join(__import__("sys").argv)]
    found.append(subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout)
    return "\n".join(found)
`)
	var seen string
	require.NoError(t, client.Call(t.Context(), "look", nil, &seen))
	assert.NotContains(t, seen, controlToken)
	assert.NotContains(t, seen, "token-of-curious")
}

func TestServiceNames(t *testing.T) {
	server := startServer(t, newest(t).path)
	for _, name := range []string{"", "a/b", "a b", "1a", "../a", "ä", strings.Repeat("a", 65), "a\nb", "healthz?"} {
		_, err := server.Load(t.Context(), rpc.Spec{Name: name, Token: "t", Filename: "f.py", Source: "@expose\ndef f(): pass"}, nil)
		require.Error(t, err, "%q", name)
		var failed *rpc.LoadError
		require.NotErrorAs(t, err, &failed)
	}
}
