package seer_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/huggingface/hubtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func callText(t *testing.T, service *seer.Service, function string) string {
	t.Helper()
	text, err := seer.CallAs[string](within(t, patience), service, function, nil)
	require.NoError(t, err)
	return text
}

func TestServicesSideBySide(t *testing.T) { // D25
	scoped := startScoped(t, seer.SandboxConfig{})
	one := serveText(t, scoped, "one", "@expose\ndef who() -> str: return 'one'\n")
	two := serveText(t, scoped, "two", "@expose\ndef who() -> str: return 'two'\n")
	assert.Equal(t, "one", callText(t, one, "who"))
	assert.Equal(t, "two", callText(t, two, "who"))
	names, err := scoped.Services(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two"}, names)
	assert.Equal(t, "one two\n", execText(t, localSession(t, one.Library(), two.Library()), "import one, two; print(one.who(), two.who())"))

	changed := one.Library()
	changed.Env["OTHER"] = "other"
	clear(changed.Files)
	assert.NotContains(t, one.Library().Env, "OTHER", "what is handed out is a copy")
	assert.NotEmpty(t, one.Library().Files)

	require.NoError(t, two.Remove(t.Context()))
	require.NoError(t, two.Remove(t.Context()), "may be called again")
	_, err = scoped.Service(t.Context(), "two")
	require.ErrorIs(t, err, seer.ErrNotFound)
	var failed *seer.CallError
	require.ErrorAs(t, two.Call(t.Context(), "who", nil, nil), &failed)
	assert.Equal(t, "Unauthorized", failed.Type)
	assert.Nil(t, two.MCPConfig())
	assert.Equal(t, "one", callText(t, one, "who"))
}

// Two libraries would read the same variables.
func TestNamesThatDifferInCaseAlone(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{})
	tools := serveText(t, scoped, "tools", whoProgram)
	path := filepath.Join(write(t, map[string]string{"tools.py": whoProgram}), "tools.py")
	_, err := scoped.Serve(t.Context(), path, &seer.ServeOptions{Name: "Tools"})
	require.ErrorContains(t, err, "NameTaken: service tools is served")
	require.NoError(t, tools.Remove(t.Context()))
	upper, err := scoped.Serve(t.Context(), path, &seer.ServeOptions{Name: "Tools"})
	require.NoError(t, err)

	lower := serveText(t, startScoped(t, seer.SandboxConfig{}), "tools", whoProgram)
	_, err = seer.NewLocalSession(t.Context(), &seer.Workspace{Libraries: []seer.Library{upper.Library(), lower.Library()}}, t.TempDir(), nil)
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Problems, 2)
	assert.Equal(t, "Libraries[1].Env[SEER_RPC_TOOLS_TOKEN]", bad.Problems[0].Field)
	assert.Contains(t, bad.Problems[0].Message, "library Tools has another value")
	assert.NotContains(t, err.Error(), lower.Library().Env["SEER_RPC_TOOLS_TOKEN"])
}

func TestServingANameAgainReplacesIt(t *testing.T) { // D25
	scoped := startScoped(t, seer.SandboxConfig{})
	ctx := within(t, patience)
	old := serveText(t, scoped, "tools", `
import os, time
@expose
def version() -> int: return 1
@expose
def slow() -> int:
    open("/tmp/begun", "w").close()
    while not os.path.exists("/tmp/finish"): time.sleep(0.005)
    return 1
`)
	library := localSession(t, old.Library())
	execText(t, library, "import tools; assert tools.version() == 1")
	running := make(chan error, 1)
	var fromOld int
	go func() { running <- old.Call(ctx, "slow", nil, &fromOld) }()
	_, err := scoped.Exec(ctx, "until [ -e /tmp/begun ]; do sleep 0.01; done")
	require.NoError(t, err)

	stop, calls := make(chan struct{}), sync.WaitGroup{}
	for range 4 {
		calls.Go(func() {
			seen := 1
			for {
				select {
				case <-stop:
					return
				default:
				}
				version, err := seer.CallAs[int](ctx, old, "version", nil)
				if !assert.NoError(t, err) || !assert.GreaterOrEqual(t, version, seen, "never goes back") {
					return
				}
				seen = version
			}
		})
	}
	next := serveText(t, scoped, "tools", "@expose\ndef version() -> int: return 2\n")
	close(stop)
	calls.Wait()
	assert.Equal(t, "2\n", execText(t, library, "print(tools.version())"), "clients of the old file call the new one")
	var failed *seer.CallError
	require.ErrorAs(t, old.Call(ctx, "slow", nil, nil), &failed)
	assert.Equal(t, "UnknownFunction", failed.Type)
	require.NoError(t, scoped.WriteFile(ctx, "/tmp/finish", nil))
	require.NoError(t, <-running, "a call that runs may finish")
	assert.Equal(t, 1, fromOld)

	path := filepath.Join(write(t, map[string]string{"tools.py": "raise RuntimeError('no')"}), "tools.py")
	_, err = scoped.Serve(ctx, path, nil)
	require.ErrorContains(t, err, "RuntimeError: no")
	version, err := seer.CallAs[int](ctx, next, "version", nil)
	require.NoError(t, err)
	assert.Equal(t, 2, version, "a file that cannot be served replaces nothing")
}

func TestInterfaceWorkspace(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{Env: map[string]string{"FROM_CONFIG": "config"}})
	dir := write(t, map[string]string{
		"helper.py": "import os\ndef text(): return os.environ['HELPER'] + open('data/note.txt').read()\n",
		"note.txt":  "note",
		"tools.py":  "import helper, os\n@expose\ndef text() -> str: return helper.text() + os.environ['FROM_CONFIG']\n",
	})
	helper, err := seer.LibraryFromFile(filepath.Join(dir, "helper.py"))
	require.NoError(t, err)
	helper.Env = map[string]string{"HELPER": "env-"}
	serve := func(name string) *seer.Service {
		service, err := scoped.Serve(t.Context(), filepath.Join(dir, "tools.py"), &seer.ServeOptions{Name: name, Workspace: &seer.Workspace{
			Libraries:  []seer.Library{helper},
			LocalFiles: []seer.Mount{{Source: filepath.Join(dir, "note.txt"), Target: "data/note.txt"}},
		}})
		require.NoError(t, err)
		return service
	}
	first := serve("first")
	assert.Equal(t, "env-noteconfig", callText(t, first, "text"))
	helper.Files = map[string]string{"__init__.py": "def text(): return 'another'"}
	assert.Equal(t, "anotherconfig", callText(t, serve("second"), "text"))
	assert.Equal(t, "env-noteconfig", callText(t, first, "text"))
}

func TestServiceTimeout(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{RPCTimeout: 200 * time.Millisecond})
	tools := serveText(t, scoped, "tools", "import asyncio\n@expose\nasync def wait(): await asyncio.sleep(1000)\n")
	err := tools.Call(within(t, patience), "wait", nil, nil)
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualError(t, err, "call wait: timed out after 200ms")
}

func TestServeCancelled(t *testing.T) {
	t.Parallel()
	loading := make(chan struct{})
	var once sync.Once
	scoped := startScoped(t, seer.SandboxConfig{}, seer.WithProgress(func(e seer.Event) {
		if e.Text == "loading for ever" {
			once.Do(func() { close(loading) })
		}
	}))
	path := filepath.Join(write(t, map[string]string{"slow.py": "print('loading for ever')\nimport time\ntime.sleep(1000)\n"}), "slow.py")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-loading
		cancel()
	}()
	_, err := scoped.Serve(ctx, path, nil)
	require.ErrorIs(t, err, context.Canceled)
	names, err := scoped.Services(t.Context())
	require.NoError(t, err)
	assert.Empty(t, names)
}

const whoProgram = "@expose\ndef who() -> str: return 'me'\n"

func TestTheServerOfFunctionsIsKilled(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{})
	tools := serveText(t, scoped, "tools", whoProgram)
	library := localSession(t, tools.Library())
	execText(t, library, "import tools; tools.who()")
	const server = `'^[^ ]+ /run/seer/functions/server$'`
	_, err := scoped.Exec(within(t, patience), "pkill -KILL -f "+server+"; while pgrep -f "+server+"; do sleep 0.01; done")
	require.NoError(t, err)
	require.Error(t, tools.Call(within(t, patience), "who", nil, nil))

	names, err := scoped.Services(t.Context())
	require.NoError(t, err, "another server is started")
	assert.Empty(t, names)
	serveText(t, scoped, "tools", whoProgram)
	assert.Equal(t, "me", callText(t, tools, "who"), "what was handed out works again")
	assert.Equal(t, "me\n", execText(t, library, "print(tools.who())"))
}

func TestAnotherProgramOnTheRPCPort(t *testing.T) { // D11
	scoped := startScoped(t, seer.SandboxConfig{WaitTimeout: 20 * time.Second})
	_, err := scoped.Exec(within(t, patience), `python -m http.server 8080 >/dev/null 2>&1 & until python -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:8080")'; do sleep 0.05; done 2>/dev/null`)
	require.NoError(t, err)
	path := filepath.Join(write(t, map[string]string{"tools.py": whoProgram}), "tools.py")
	_, err = scoped.Serve(within(t, patience), path, nil)
	require.ErrorContains(t, err, "Address already in use")
}

func TestScopedFromID(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	first, err := seer.NewScopedSandbox(seer.SandboxConfig{RPCPort: 9090}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.NoError(t, err)
	served := serveText(t, first, "tools", whoProgram)
	library := localSession(t, served.Library())
	require.NoError(t, first.Close())
	require.ErrorIs(t, served.Call(t.Context(), "who", nil, nil), seer.ErrNotStarted)
	assert.Equal(t, "me\n", execText(t, library, "import tools; print(tools.who())"), "a closed sandbox serves on")

	again, err := seer.ScopedFromID(t.Context(), first.SandboxID(), seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, again.Sandbox) })
	tools, err := again.Service(t.Context(), "tools")
	require.NoError(t, err)
	assert.Equal(t, "me", callText(t, tools, "who"))
	assert.Equal(t, served.Library().Files, tools.Library().Files)
	assert.Equal(t, served.Prompt(), tools.Prompt())
	assert.Equal(t, "me\n", execText(t, localSession(t, tools.Library()), "import tools; print(tools.who())"))
	_, err = again.Service(t.Context(), "others")
	require.ErrorIs(t, err, seer.ErrNotFound)

	plain := startOn(t, server, seer.SandboxConfig{})
	_, err = seer.ScopedFromID(t.Context(), plain.SandboxID(), seer.WithBackend(server.Backend()))
	require.ErrorContains(t, err, "not a scoped sandbox")
	_, err = plain.Exec(t.Context(), "true")
	require.NoError(t, err)
}

func TestScopedFromSnapshot(t *testing.T) { // D10
	server := seertest.NewServer(t)
	first := startScopedOn(t, server, seer.SandboxConfig{})
	path := filepath.Join(write(t, map[string]string{"tools.py": "@expose\ndef note() -> str: return open('/root/note').read()\n"}), "tools.py")
	original, err := first.Serve(t.Context(), path, nil)
	require.NoError(t, err)
	require.NoError(t, first.WriteFile(t.Context(), "/root/note", []byte("kept")))
	snapshot, err := first.Snapshot(t.Context(), "served")
	require.NoError(t, err)

	second, err := seer.ScopedFromSnapshot(t.Context(), snapshot, snapshot.Config, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, second.Sandbox) })
	_, err = second.Service(t.Context(), "tools")
	require.ErrorIs(t, err, seer.ErrNotFound, "services are not part of a snapshot")
	tools, err := second.Serve(t.Context(), path, nil)
	require.NoError(t, err)
	assert.Equal(t, "kept", callText(t, tools, "note"))
	for name, value := range original.Library().Env {
		assert.NotEqual(t, value, tools.Library().Env[name], "nor are tokens")
	}
}

func TestScopedBlockedNetwork(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	scoped := startScopedOn(t, server, seer.SandboxConfig{BlockNetwork: true})
	_, err := scoped.URL(t.Context(), 8080)
	require.ErrorIs(t, err, seer.ErrNotFound)
	tools, err := scoped.Serve(t.Context(), modelTools, nil)
	require.NoError(t, err)
	ctx := within(t, patience)
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() { assert.NoError(t, tools.Call(ctx, "get_embedding", map[string]any{"text": "hi"}, nil)) })
	}
	calls.Wait()
	text, err := seer.CallAs[string](ctx, tools, "big", map[string]any{"size": 5 << 20})
	require.NoError(t, err)
	assert.Len(t, text, 5<<20)
	out := execText(t, localSession(t, tools.Library()), "import model_tools as m; print(m.get_embedding('hi'), list(m.count(3)))")
	assert.Equal(t, "[0.25, 0.5] [0, 1, 2]\n", out)
}

func TestServiceOfAnEndedSandbox(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{})
	tools := serveText(t, scoped, "tools", whoProgram)
	require.NotNil(t, tools.MCPConfig())
	terminate(t, scoped.Sandbox)
	require.ErrorIs(t, tools.Call(t.Context(), "who", nil, nil), seer.ErrTerminated)
	assert.Nil(t, tools.MCPConfig(), "its port is closed")
	_, err := scoped.Serve(t.Context(), modelTools, nil)
	require.ErrorIs(t, err, seer.ErrTerminated)
	require.NoError(t, tools.Close())

	unstarted := seer.NewScopedSandbox(seer.SandboxConfig{})
	_, err = unstarted.Serve(t.Context(), modelTools, nil)
	require.ErrorIs(t, err, seer.ErrNotStarted)
}

func TestServedModels(t *testing.T) {
	t.Parallel()
	world := newHubWorld(t)
	world.Add(hubtest.Model{ID: "tiny/model", Files: modelFiles("tiny/model")})
	world.Add(hubtest.Model{ID: "tiny/secret", Files: modelFiles("tiny/secret")})
	world.addAdapter()
	const adapter, base = "quokka-org/Sparrow-7B-tuned", "acme-labs/Sparrow-7B"
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{Models: []seer.ModelConfig{
		{Name: "tiny/model"}, {Name: "tiny/secret", VarName: "target", Hidden: true},
		{Name: adapter, VarName: "tuned", IsPEFT: true, BaseModel: base},
	}, PythonPackages: []string{"peft; python_version < '3'"}}, world.options()...).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, scoped.Sandbox) })
	tools := serveText(t, scoped, "tools", `
import os
FILES = sorted(os.listdir(get_model_path("tiny/model")))
@expose
def files() -> list[str]: return FILES
@expose
def models() -> list[str]: return list_configured_models()
@expose
def path(name: str, base: bool = False) -> str: return get_model_path(name, base=base)
@expose
def weights(name: str, base: bool = False) -> list[str]: return [f for f in os.listdir(get_model_path(name, base=base)) if "safetensors" in f]
`)
	var models, files []string
	require.NoError(t, tools.Call(t.Context(), "models", nil, &models))
	assert.Equal(t, []string{"tiny/model", "target", adapter}, models)
	require.NoError(t, tools.Call(t.Context(), "files", nil, &files))
	assert.NotEmpty(t, files)
	for _, name := range []string{"target", "model"} {
		require.NoError(t, tools.Call(t.Context(), "path", map[string]any{"name": name}, nil))
	}
	var failed *seer.CallError
	err = tools.Call(t.Context(), "path", map[string]any{"name": "tiny/secret"}, nil)
	require.True(t, errors.As(err, &failed))
	assert.Contains(t, failed.Message, "configured: ['tiny/model', 'target', '"+adapter+"']")

	for _, test := range []struct {
		name string
		base bool
		want string
	}{
		{adapter, false, "adapter_model.safetensors"}, {"tuned", false, "adapter_model.safetensors"},
		{adapter, true, "model.safetensors"}, {"tuned", true, "model.safetensors"}, {base, false, "model.safetensors"},
	} {
		weights, err := seer.CallAs[[]string](t.Context(), tools, "weights", map[string]any{"name": test.name, "base": test.base})
		require.NoError(t, err)
		assert.Equal(t, []string{test.want}, weights)
	}
	err = tools.Call(t.Context(), "path", map[string]any{"name": "target", "base": true}, nil)
	require.ErrorContains(t, err, "model 'target' is no configured adapter")
}

func TestScopedSandboxLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	scoped := startScoped(t, seer.SandboxConfig{})
	service := serveText(t, scoped, "tools", whoProgram)
	localSession(t, service.Library())
	out, err := scoped.Exec(t.Context(), `stat -c '%a' /dev/shm/seer-functions /dev/shm/seer-functions/token; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | grep -c -aF -f /dev/shm/seer-functions/token`)
	require.Error(t, err, "grep finds the token in no argument and no environment")
	assert.Equal(t, "700\n600\n0\n", out)
	left, err := filepath.Glob(filepath.Join(temporary, "seer-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
