package seer_test

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

const modelTools = "testdata/interface/model_tools.py"

// startScoped starts a scoped sandbox of real processes that ends with the test.
func startScoped(t *testing.T, config seer.SandboxConfig, opts ...seer.Option) *seer.ScopedSandbox {
	t.Helper()
	return startScopedOn(t, seertest.NewServer(t), config, opts...)
}

func startScopedOn(t *testing.T, server *seertest.Server, config seer.SandboxConfig, opts ...seer.Option) *seer.ScopedSandbox {
	t.Helper()
	scoped, err := seer.NewScopedSandbox(config, append([]seer.Option{seer.WithBackend(server.Backend())}, opts...)...).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, scoped.Sandbox) })
	return scoped
}

// serveText serves an interface file with a given text.
func serveText(t *testing.T, scoped *seer.ScopedSandbox, name, source string) *seer.Service {
	t.Helper()
	service, err := scoped.Serve(t.Context(), filepath.Join(write(t, map[string]string{name + ".py": source}), name+".py"), nil)
	require.NoError(t, err)
	return service
}

// localSession is a session of an agent on this machine that ends with the test.
func localSession(t *testing.T, libraries ...seer.Library) *seer.LocalSession {
	t.Helper()
	session, err := seer.NewLocalSession(t.Context(), &seer.Workspace{Libraries: libraries}, t.TempDir(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(context.WithoutCancel(t.Context()))) })
	return session
}

func execText(t *testing.T, session seer.Session, code string) string {
	t.Helper()
	result, err := session.Exec(within(t, patience), code)
	require.NoError(t, err)
	return result.Text()
}

// TestTheScopedDocument runs the lines of the user's document.
func TestTheScopedDocument(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	server := seertest.NewServer(t)
	config := seer.SandboxConfig{}

	scoped, err := seer.NewScopedSandbox(config, seer.WithBackend(server.Backend())).Start(ctx)
	require.NoError(t, err)
	defer terminate(t, scoped.Sandbox)
	tools, err := scoped.Serve(ctx, modelTools, &seer.ServeOptions{Name: "model_tools"})
	require.NoError(t, err)
	workspace := &seer.Workspace{Libraries: []seer.Library{tools.Library()}}
	session, err := seer.NewLocalSession(ctx, workspace, dir, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, session.Close(ctx)) }()
	result, err := session.Exec(ctx, "import model_tools; print(model_tools.get_embedding('hi'))")
	require.NoError(t, err)
	assert.Equal(t, "[0.25, 0.5]\n", result.Text())

	out := execText(t, session, `help(model_tools.get_embedding)`)
	assert.Contains(t, out, "get_embedding(text: str, *, scale: float = 1.0)")
	assert.Contains(t, out, `"Quotes" and \ are fine.`)
	assert.Contains(t, workspace.LibraryDocs(), "get_embedding(text: str, *, scale: float = 1.0) -> list[float]")
}

func TestServedFunctions(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{})
	tools, err := scoped.Serve(t.Context(), modelTools, &seer.ServeOptions{Name: "model_tools"})
	require.NoError(t, err)
	ctx := within(t, patience)

	t.Run("typed results", func(t *testing.T) {
		embedding, err := seer.CallAs[[]float64](ctx, tools, "get_embedding", map[string]any{"text": "hi", "scale": 2})
		require.NoError(t, err)
		assert.Equal(t, []float64{0.5, 1}, embedding)
		require.NoError(t, tools.Call(ctx, "get_embedding", map[string]any{"text": "hi"}, nil))
	})
	t.Run("every kind of parameter", func(t *testing.T) {
		var got struct {
			First json.RawMessage
			Rest  []int
			Tau   float64
			Note  *string
			Extra map[string]string
		}
		require.NoError(t, tools.Call(ctx, "describe", map[string]any{
			"first": []int{1}, "rest": []int{2, 3}, "note": "n", "extra": map[string]any{"self": "x", "ctx": "y"},
		}, &got))
		assert.JSONEq(t, "[1]", string(got.First))
		assert.Equal(t, []int{2, 3}, got.Rest)
		assert.InDelta(t, 2*math.Pi, got.Tau, 0)
		assert.Equal(t, map[string]string{"self": "x", "ctx": "y"}, got.Extra)

		session := localSession(t, tools.Library())
		out := execText(t, session, `
import inspect, model_tools
print(model_tools.describe(1, 2, 3, note="n", self="x"))
print(inspect.signature(model_tools.describe))
print(list(model_tools.count(3)), model_tools.wait(0), model_tools.strange())`)
		assert.Contains(t, out, "'rest': [2, 3]")
		assert.Contains(t, out, "'extra': {'self': 'x'}")
		assert.Contains(t, out, "(first: Any, /, *rest: int, tau: float = 6.28")
		assert.Contains(t, out, `[0, 1, 2] waited [nan, inf, b'\x00\xff', (1, 2)]`)
	})
	t.Run("values that JSON cannot say", func(t *testing.T) {
		values, err := seer.CallAs[[]any](ctx, tools, "strange", nil)
		require.NoError(t, err)
		require.Len(t, values, 4)
		assert.True(t, math.IsNaN(values[0].(float64)))    //nolint:errcheck,forcetypeassert // a panic fails the test
		assert.True(t, math.IsInf(values[1].(float64), 1)) //nolint:errcheck,forcetypeassert // likewise
	})
	t.Run("items as they come", func(t *testing.T) {
		var items []int
		for item, err := range seer.StreamAs[int](ctx, tools, "count", map[string]any{"to": 1 << 40}) {
			require.NoError(t, err)
			if items = append(items, item); len(items) == 3 {
				break
			}
		}
		assert.Equal(t, []int{0, 1, 2}, items)
		for _, err := range seer.StreamAs[int](ctx, tools, "count", map[string]any{"to": "many"}) {
			assert.ErrorContains(t, err, "TypeError")
		}
	})
	t.Run("a large result", func(t *testing.T) {
		text, err := seer.CallAs[string](ctx, tools, "big", map[string]any{"size": 20 << 20})
		require.NoError(t, err)
		assert.Len(t, text, 20<<20)
	})
	t.Run("errors", func(t *testing.T) {
		err := tools.Call(ctx, "fail", map[string]any{"message": "no such layer"}, nil)
		var failed *seer.CallError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, "ValueError", failed.Type)
		assert.Equal(t, "no such layer", failed.Message)
		assert.Empty(t, failed.Traceback) // D4
		assert.EqualError(t, err, "call fail: ValueError: no such layer")

		require.ErrorAs(t, tools.Call(ctx, "hidden", nil, nil), &failed)
		assert.Equal(t, "UnknownFunction", failed.Type)
		require.ErrorAs(t, tools.Call(ctx, "get_embedding", map[string]any{"txt": "hi"}, nil), &failed)
		assert.Equal(t, "TypeError", failed.Type)
		require.ErrorAs(t, tools.Call(ctx, "crash", nil, nil), &failed)
		assert.Equal(t, "ServiceCrashed", failed.Type)
		require.NoError(t, tools.Call(ctx, "get_embedding", map[string]any{"text": "hi"}, nil), "it loads again by itself")

		out := execText(t, localSession(t, tools.Library()), `
import model_tools
try:
    model_tools.fail("no such layer")
except ValueError as error:
    print(type(error).__name__, error)`)
		assert.Contains(t, out, "no such layer")
	})
	t.Run("deadlines cancel the call", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		err := tools.Call(short, "wait", map[string]any{"seconds": 1000}, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var timeout *seer.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.NoError(t, tools.Health(ctx))
	})
	t.Run("side by side", func(t *testing.T) {
		const callers = 16
		path := "/tmp/go-on"
		var calls sync.WaitGroup
		for range callers {
			calls.Go(func() { assert.NoError(t, tools.Call(ctx, "block", map[string]any{"path": path}, nil)) })
		}
		require.NoError(t, tools.Call(ctx, "get_embedding", map[string]any{"text": "hi"}, nil), "waits for nobody")
		require.NoError(t, tools.Health(ctx))
		require.NoError(t, scoped.WriteFile(ctx, path, nil))
		calls.Wait()
	})
	t.Run("the log", func(t *testing.T) {
		var lines []string
		for line, err := range tools.Logs(ctx) {
			require.NoError(t, err)
			lines = append(lines, line)
			if strings.Contains(line, "ValueError: no such layer") {
				break
			}
		}
		assert.Equal(t, "loading the embeddings", lines[0])
		assert.Contains(t, lines, "counted 0")
	})
	t.Run("faces", func(t *testing.T) {
		functions := tools.Functions()
		require.Len(t, functions, 9)
		assert.Equal(t, "get_embedding", functions[0].Name)
		assert.Equal(t, "(text: str, *, scale: float = 1.0) -> list[float]", functions[0].Signature)
		assert.JSONEq(t, `{"type":"array","items":{"type":"number"}}`, string(functions[0].OutputSchema))
		assert.True(t, functions[4].Stream)
		assert.Contains(t, tools.Prompt(), "fail(message: str)\n    Raises.")
		skill := tools.Skill()
		assert.Equal(t, "model-tools", skill.Name)
		assert.Contains(t, skill.Markdown(), "import model_tools")
		for _, value := range tools.Library().Env {
			for name, content := range tools.Library().Files {
				assert.NotContains(t, content, value, name)
			}
			assert.NotContains(t, skill.Content+tools.Prompt(), value)
		}
	})
}

func TestServeErrorsAreTracebacks(t *testing.T) { // D26
	var events []seer.Event
	scoped := startScoped(t, seer.SandboxConfig{}, seer.WithProgress(func(e seer.Event) {
		if strings.HasPrefix(e.Step, "serve ") {
			events = append(events, e)
		}
	}))
	for name, test := range map[string]struct{ source, kind, message string }{
		"syntax":  {"x = 1\ndef f(:\n", "SyntaxError", "line 2"},
		"imports": {"import no_such_module\n", "ModuleNotFoundError", "listed in PythonPackages"},
		"model":   {"get_model_path('a/b')\n", "ValueError", "model 'a/b' is not configured; no models are configured"},
		"expose":  {"@expose(parallel=True)\ndef f(): pass\n", "TypeError", "TypeError: expose() got"},
		"raises":  {"print('half way')\n\n1 / 0\n", "ZeroDivisionError", "line 3, in <module>"},
		"nothing": {"def f(): pass\n", "NothingExposed", "@expose"},
		"dies":    {"import os; os._exit(4)\n", "ServiceCrashed", "exit code 4"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, map[string]string{name + ".py": test.source}), name+".py")
			_, err := scoped.Serve(within(t, patience), path, nil)
			var failed *seer.ServeError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, test.kind, failed.Type)
			assert.Contains(t, err.Error(), test.message)
			assert.Contains(t, err.Error(), path)
		})
	}
	names, err := scoped.Services(t.Context())
	require.NoError(t, err)
	assert.Empty(t, names)
	assert.Condition(t, func() bool {
		for _, e := range events {
			if e.Kind == seer.EventOutput && e.Step == "serve raises" && e.Text == "half way" {
				return true
			}
		}
		return false
	}, "what a file prints while it loads is progress: %v", events)

	var bad *seer.ConfigError
	_, err = scoped.Serve(t.Context(), modelTools, &seer.ServeOptions{
		Name: "model-tools", Timeout: -1, Workspace: &seer.Workspace{CustomInitCode: "x"},
	})
	require.ErrorAs(t, err, &bad)
	assert.Len(t, bad.Problems, 3)
	_, err = scoped.Serve(t.Context(), "no/such/file.py", nil)
	require.ErrorContains(t, err, "no/such/file.py")
}
