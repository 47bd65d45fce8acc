//go:build unix

package rpc_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

func TestLibraryOfNastyFunctions(t *testing.T) {
	t.Parallel()
	source, check := readFile(t, "testdata/nasty.py"), readFile(t, "testdata/check_nasty.py")
	eachInterpreter(t, func(t *testing.T, python interpreter) {
		server := startServer(t, python.path)
		_, description := serve(t, server, "model_tools", source)
		dir := installLibrary(t, description)
		assert.Equal(t, "ok\n", runPython(t, python.path, dir, libraryEnv(server, "model_tools"), check))
	})
}

// The library and the server need not run the same Python.
func TestLibraryAcrossVersions(t *testing.T) {
	t.Parallel()
	all := interpreters()
	server := startServer(t, newest(t).path)
	_, description := serve(t, server, "model_tools", readFile(t, "testdata/nasty.py"))
	dir := installLibrary(t, description)
	assert.Equal(t, "ok\n", runPython(t, all[0].path, dir, libraryEnv(server, "model_tools"), readFile(t, "testdata/check_nasty.py")))
}

func TestLibraryTypeChecks(t *testing.T) {
	t.Parallel()
	python := venvtest.Python(t, "mypy", "numpy", "pydantic")
	server := startServer(t, newest(t).path)
	_, description := serve(t, server, "model_tools", readFile(t, "testdata/nasty.py"))
	dir := installLibrary(t, description)
	writeFile(t, filepath.Join(dir, "use.py"), `import model_tools

a: str = model_tools.coroutine(0.5)
b: list[tuple[int, str]] = list(model_tools.generator(3))
model_tools.coroutine("wrong")
model_tools.keyword_only(1)
c: int = model_tools.coroutine()
`)
	cmd := exec.Command(python, "-m", "mypy", "--strict", "--no-warn-return-any", "--no-incremental", "-p", "model_tools", "-p", "use")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	wrong := map[string]bool{}
	for _, place := range regexp.MustCompile(`(?m)^(\S+): error: `).FindAllStringSubmatch(string(out), -1) {
		wrong[place[1]] = true
	}
	assert.Equal(t, map[string]bool{"use.py:5": true, "use.py:6": true, "use.py:7": true}, wrong,
		"%s\n%s", out, readFile(t, filepath.Join(dir, "model_tools", "__init__.py")))
}

func TestLibraryHoldsNoSecret(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	_, description := serve(t, server, "model_tools", "@expose\ndef f(): return 'called'\n")
	files, err := rpc.Library("model_tools", description.Functions)
	require.NoError(t, err)
	for path, content := range files {
		assert.NotContains(t, content, "token-of-model_tools", path)
		assert.NotContains(t, content, "127.0.0.1", path)
	}
	dir := installLibrary(t, description)
	secret := filepath.Join(dir, "secret.json")
	data, err := json.Marshal(map[string]string{"url": server.ServiceURL("model_tools"), "token": "token-of-model_tools"})
	require.NoError(t, err)
	writeFile(t, secret, string(data))
	program := `
import os, model_tools
try:
    model_tools.f()
except ConnectionError as error:
    print(error)
os.environ["SEER_RPC_MODEL_TOOLS_FILE"] = path = os.path.join(os.environ["PYTHONPATH"], "secret.json")
try:
    model_tools.f()
except PermissionError as error:
    print("0600" in str(error))
os.chmod(path, 0o600)
print(model_tools.f())
os.environ["SEER_RPC_MODEL_TOOLS_URL"] = "http://127.0.0.1:1/s/model_tools"
os.environ["SEER_RPC_MODEL_TOOLS_TOKEN"] = "secret"
try:
    model_tools.f()
except ConnectionError as error:
    print("cannot be reached" in str(error), "secret" in str(error))
`
	assert.Equal(t, "model_tools: set SEER_RPC_MODEL_TOOLS_URL and SEER_RPC_MODEL_TOOLS_TOKEN, or SEER_RPC_MODEL_TOOLS_FILE\n"+
		"True\ncalled\nTrue False\n", runPython(t, newest(t).path, dir, nil, program))
}

// Loopback never goes through a proxy; the wrong token is a PermissionError's
// like; a large request that is refused still gets its answer.
func TestLibraryConnections(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	_, description := serveSpec(t, server, rpc.Spec{Name: "model_tools", Source: `
import os
@expose
def size(x): return len(x)
@expose
def pid(): return os.getpid()
@expose
def die(): os._exit(1)
`, MaxRequest: 1 << 20})
	env := libraryEnv(server, "model_tools")
	env["http_proxy"] = "http://127.0.0.1:1"
	env["no_proxy"] = ""
	program := `
import os, sys, model_tools
print(model_tools.size("x" * 1000))
try:
    model_tools.size("x" * 3000000)
except model_tools.RemoteError as error:
    print(error.type)
before = model_tools.pid()
try:
    model_tools.die()
except model_tools.RemoteError as error:
    print(error.type)
print(model_tools.pid() != before)
sys.stdout.flush()
if os.fork() == 0:
    print("child", model_tools.size("abc"), flush=True)
    os._exit(0)
os.wait()
print("parent", model_tools.size("ab"))
os.environ["SEER_RPC_MODEL_TOOLS_TOKEN"] = "wrong"
try:
    model_tools.size("x" * 1000000)
except model_tools.RemoteError as error:
    print(error)
`
	out := runPython(t, newest(t).path, installLibrary(t, description), env, program)
	assert.Equal(t, []string{
		"1000", "RequestTooLarge", "ServiceCrashed", "True", "child 3", "parent 2",
		"size: Unauthorized: a valid bearer token is required", "",
	}, strings.Split(out, "\n"))
}

// A description comes from a sandbox: nothing in it may become code.
func TestLibraryRefusesHostileDescriptions(t *testing.T) {
	hostile := `f(x=__import__("os").system("touch /tmp/owned")): pass #`
	literal := func(text string) rpc.Value { return rpc.Value(text) }
	for name, function := range map[string]rpc.Function{
		"name":      {Name: hostile},
		"keyword":   {Name: "class"},
		"parameter": {Name: "f", Parameters: []rpc.Parameter{{Name: hostile, Kind: rpc.KeywordOnly}}},
		"kind":      {Name: "f", Parameters: []rpc.Parameter{{Name: "x", Kind: "odd"}}},
		"default": {Name: "f", Parameters: []rpc.Parameter{{
			Name: "x", Kind: rpc.KeywordOnly, Default: &rpc.Default{Literal: true, Value: literal(`{"$evil": 1}`)},
		}}},
	} {
		_, err := rpc.Library("lib", []rpc.Function{function})
		assert.Error(t, err, name)
	}
	_, err := rpc.Library("a-b", nil)
	require.Error(t, err)
	_, err = rpc.Library("lib", []rpc.Function{{Name: "f"}, {Name: "f"}})
	require.Error(t, err)

	text := "\"\"\"\\\n'); import os #\x00\u2028{}"
	files, err := rpc.Library("lib", []rpc.Function{{
		Name: "f", Doc: text,
		Parameters: []rpc.Parameter{{
			Name: "x", Kind: rpc.KeywordOnly, Annotation: text, Type: rpc.Type{Name: hostile, Inexact: true},
			Default: &rpc.Default{Text: text},
		}},
		Returns: rpc.Returns{Annotation: text, Type: rpc.Type{Name: "Literal", Values: []rpc.Value{literal(`{"$evil": 1}`)}}},
	}})
	require.NoError(t, err)
	dir := t.TempDir()
	for path, content := range files {
		writeFile(t, filepath.Join(dir, "lib", path), content)
	}
	wanted, err := json.Marshal(text)
	require.NoError(t, err)
	program := fmt.Sprintf(`
import inspect, json, lib
text = json.loads(%q)
parameter = inspect.signature(lib.f).parameters["x"]
print(lib.f.__doc__ == text, parameter.annotation == text, repr(parameter.default) == text)
`, wanted)
	assert.Equal(t, "True True True\n", runPython(t, newest(t).path, dir, nil, program))
}
