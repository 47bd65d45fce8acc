package seer_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// breakOut is what an agent might try that has a library and nothing else: it
// prints each attempt with what came of it.
const breakOut = `
import http.client, json, os, re, urllib.parse
url, token = os.environ["SEER_RPC_TOOLS_URL"], os.environ["SEER_RPC_TOOLS_TOKEN"]
place = urllib.parse.urlsplit(url)
here = place.path  # of the service

def attempt(method, path, token=token, body=None, host=place.netloc):
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    headers = {"Host": host, "Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text

def refused(*arguments, **options):
    status, text = attempt(*arguments, **options)
    assert status in (401, 404), (arguments, options, status, text)
    assert "secret" not in text, text
    if status == 401:
        unauthorized.add(text)

unauthorized = set()
import tools
assert tools.shout("hi") == "HI"

# other services, and the control side
for method in ("GET", "POST", "DELETE"):
    for path in ("/s/others", "/s/others/call/secret", "/s/none", "/s/none/call/secret", "/", "/admin", "/admin/services",
                 "/admin/services/tools", "/admin/services/tools/logs", "/admin/services/evil",
                 here + "/../others/call/secret", here + "/%2e%2e/others/call/secret", here + "/call/../../others/call/secret",
                 "http://127.0.0.1:9999/secret.txt", "/../../etc/hostname", here + "/../../root/secret.txt"):
        refused(method, path, body=json.dumps({"token": "x", "filename": "x", "source": "print('secret')"}))

# without the token, with a wrong one, with one of another kind
for wrong in (None, "", "x", token[:-1], token + "x", token.upper() + "é".encode().decode("latin-1")):
    for path in (here, here + "/call/shout", here + "/call/none", "/s/none", "/admin/services"):
        refused("POST" if "call" in path else "GET", path, token=wrong, body="{}")
assert len(unauthorized) == 1, unauthorized

# what is in the file but not exposed, and what Python has anyway
for name in ("secret", "_secret", "open", "os.getcwd", "__import__", "eval", "shout.__globals__", "__class__", "expose", "get_model_path"):
    status, text = attempt("POST", here + "/call/" + urllib.parse.quote(name), body="{}")
    assert status == 404, (name, status, text)
    assert "UnknownFunction" in text and "other-" not in text, text

# arguments that are something else than data
for body in ('{"text": {"$eval": "1"}}', '{"text": {"__class__": "os"}}', '{"text": {"$path": "/root/secret.txt"}}', '{"self": 1}', '[', '"x"', ''):
    status, text = attempt("POST", here + "/call/shout", body=body)
    assert status >= 400 and "other-" not in text, (body, status, text)

# nothing of the scoped sandbox is here
assert not os.path.exists("/root/secret.txt")
assert "SCOPED_SECRET" not in os.environ
# and no other port of it is behind the one address
assert attempt("GET", "/secret.txt", host="127.0.0.1:9999")[0] in (401, 404)
print("scoped")
`

// startGuarded serves one function of a sandbox that has more to offer: files,
// variables, another service, another port.
func startGuarded(t *testing.T) *seer.Service {
	t.Helper()
	scoped := startScoped(t, seer.SandboxConfig{Env: map[string]string{"SCOPED_SECRET": "other-secret"}})
	require.NoError(t, scoped.WriteFile(t.Context(), "/root/secret.txt", []byte("other-secret")))
	_, err := scoped.Exec(within(t, patience), `cd /root && python -m http.server 9999 >/dev/null 2>&1 & until python -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:9999")'; do sleep 0.05; done 2>/dev/null`)
	require.NoError(t, err)
	serveText(t, scoped, "others", "@expose\ndef secret() -> str: return 'other-secret'\n")
	return serveText(t, scoped, "tools", "import os\n@expose\ndef shout(text: str) -> str: return text.upper()\ndef secret(): return 'other-secret'\n")
}

// TestScopedMeansScoped gives an agent the library, in an isolated session and,
// with nothing but the server of functions between it and the rest, in a
// sandbox of its own.
func TestScopedMeansScoped(t *testing.T) {
	t.Parallel()
	tools := startGuarded(t)
	address, err := url.Parse(tools.Library().Env["SEER_RPC_TOOLS_URL"])
	require.NoError(t, err)

	t.Run("isolated session", func(t *testing.T) {
		session, _ := startIsolated(t, nil, seer.LocalOptions{})
		require.NoError(t, session.Setup(t.Context(), &seer.Workspace{Libraries: []seer.Library{tools.Library()}}))
		assert.Equal(t, "scoped\n", execText(t, session, breakOut))
		assert.Equal(t, "alone\n", execText(t, session, reachOut(t, tools)))
		execText(t, session, "del os.environ['SEER_RPC_TOOLS_TOKEN']\ntry:\n    tools.shout('hi')\n    assert False\nexcept ConnectionError: pass")
	})
	t.Run("sandbox", func(t *testing.T) {
		library := tools.Library()
		server := seertest.NewServer(t, seertest.AllowHost(address.Host))
		library.Env["SEER_RPC_TOOLS_URL"] = strings.Replace(address.String(), address.Hostname(), "host.seer.internal", 1)
		session, err := seer.NewCLISession(t.Context(), startOn(t, server, seer.SandboxConfig{}), &seer.Workspace{
			Libraries: []seer.Library{library}, Skills: []seer.Skill{tools.Skill()},
		}, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, session.Close(t.Context())) })
		assert.Equal(t, "scoped\n", execText(t, session, breakOut))
	})
	assert.Equal(t, "HI", callAs(t, tools, "hi"), "and the service is as it was")
}

// reachOut tries the ports around a service: its tunnel itself, the other
// ports of the sandbox, and those of this program.
func reachOut(t *testing.T, tools *seer.Service) string {
	t.Helper()
	ports := []string{"22", "80", "8080", "8888", "9999"}
	for _, server := range []string{tools.Library().Env["SEER_RPC_TOOLS_URL"], tools.MCPConfig()["tools"].URL} {
		address, err := url.Parse(server)
		require.NoError(t, err)
		ports = append(ports, address.Port())
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	ports = append(ports, portOf(t, listener.Addr().String()))
	return `
import socket
for port in (` + strings.Join(ports, ", ") + `):
    for host in ("host.seer.internal", "127.0.0.1", "192.168.127.1", "169.254.169.254", "1.1.1.1"):
        try:
            socket.create_connection((host, port), timeout=10)
        except OSError:
            continue
        raise AssertionError((host, port))
print("alone")`
}

// TestScopedMeansScopedOverMCP gives an agent the MCP config, in a session that
// is isolated but for the server of it.
func TestScopedMeansScopedOverMCP(t *testing.T) {
	t.Parallel()
	tools := startGuarded(t)
	server := tools.MCPConfig()["tools"]
	token := strings.TrimPrefix(server.Headers["Authorization"], "Bearer ")
	session, _ := startIsolated(t, &seer.Workspace{Libraries: []seer.Library{{
		Name: "mcp_config", Files: map[string]string{"__init__.py": ""},
		Env: map[string]string{"SEER_RPC_MCP_URL": server.URL, "SEER_RPC_MCP_TOKEN": token},
	}}}, seer.LocalOptions{})
	assert.Equal(t, "scoped\n", execText(t, session, `
import http.client, json, os, urllib.parse
place, token = urllib.parse.urlsplit(os.environ["SEER_RPC_MCP_URL"]), os.environ["SEER_RPC_MCP_TOKEN"]

def post(method, params, token=token, path=place.path, session=None):
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if session:
        headers["Mcp-Session-Id"] = session
    connection.request("POST", path, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), headers)
    response = connection.getresponse()
    text = response.read().decode()
    assert "other-secret" not in text, text
    return response.status, response.getheader("Mcp-Session-Id"), text

hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "agent", "version": "1"}}
status, session, text = post("initialize", hello)
assert status == 200, (status, text)
status, _, text = post("tools/list", {}, session=session)
assert status == 200 and text.count('"inputSchema"') == 1 and '"shout"' in text, text
status, _, text = post("tools/call", {"name": "shout", "arguments": {"text": "hi"}}, session=session)
assert status == 200 and '"HI"' in text, text

for name in ("secret", "open", "os.getcwd", "eval", "get_model_path", "others", "../others/call/secret", ""):
    status, _, text = post("tools/call", {"name": name, "arguments": {"text": "hi", "path": "/root/secret.txt"}}, session=session)
    assert "error" in text, (name, status, text)
for method, answer in (("resources/list", '"resources":[]'), ("prompts/list", '"prompts":[]'), ("admin/services", "error"), ("shell", "error"), ("", "error")):
    status, _, text = post(method, {}, session=session)
    assert answer in text or "error" in text or status >= 400, (method, status, text)
status, _, text = post("resources/read", {"uri": "file:///root/secret.txt"}, session=session)
assert "error" in text or status >= 400, (status, text)
for wrong in ("", "x", token[:-1], token + "x"):
    assert post("initialize", hello, token=wrong)[0] == 401
for path in ("/", "/mcp", "/s/others/call/secret", place.path + "/../../s/others", place.path + "/admin/services", "//127.0.0.1:9999/secret.txt"):
    assert post("initialize", hello, path=path)[0] in (400, 404), path
print("scoped")`))
	assert.Equal(t, "alone\n", execText(t, session, reachOut(t, tools)))
	assert.Equal(t, "HI", callAs(t, tools, "hi"), "and the service is as it was")
}

// TestScopedMeansScopedWithTheSkill gives an agent the skill, which is words.
func TestScopedMeansScopedWithTheSkill(t *testing.T) {
	t.Parallel()
	tools := startGuarded(t)
	session, _ := startIsolated(t, &seer.Workspace{Skills: []seer.Skill{tools.Skill()}}, seer.LocalOptions{})
	text := execText(t, session, `
import os
text = open("skills/tools/SKILL.md").read()
try:
    import tools
    print("imported")
except ModuleNotFoundError:
    pass
print([name for name in os.environ if name.startswith("SEER")])
print(text)`)
	assert.Contains(t, text, "[]\n")
	assert.Contains(t, text, "tools.shout(text: str) -> str")
	assert.NotContains(t, text, "imported")
	for _, secret := range []string{tools.Library().Env["SEER_RPC_TOOLS_URL"], tools.Library().Env["SEER_RPC_TOOLS_TOKEN"]} {
		assert.NotContains(t, text, secret)
	}
	assert.Equal(t, "alone\n", execText(t, session, reachOut(t, tools)))
}

func callAs(t *testing.T, tools *seer.Service, text string) string {
	t.Helper()
	shouted, err := seer.CallAs[string](t.Context(), tools, "shout", map[string]any{"text": text})
	require.NoError(t, err)
	return shouted
}
