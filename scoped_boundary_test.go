package seer_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

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
                 "/s/tools/../others/call/secret", "/s/tools/%2e%2e/others/call/secret", "/s/tools/call/../../others/call/secret",
                 "http://127.0.0.1:9999/secret.txt", "/../../etc/hostname", "/s/tools/../../root/secret.txt"):
        refused(method, path, body=json.dumps({"token": "x", "filename": "x", "source": "print('secret')"}))

# without the token, with a wrong one, with one of another kind
for wrong in (None, "", "x", token[:-1], token + "x", token.upper() + "é".encode().decode("latin-1")):
    for path in ("/s/tools", "/s/tools/call/shout", "/s/tools/call/none", "/s/none", "/admin/services"):
        refused("POST" if "call" in path else "GET", path, token=wrong, body="{}")
assert len(unauthorized) == 1, unauthorized

# what is in the file but not exposed, and what Python has anyway
for name in ("secret", "_secret", "open", "os.getcwd", "__import__", "eval", "shout.__globals__", "__class__", "expose", "get_model_path"):
    status, text = attempt("POST", "/s/tools/call/" + urllib.parse.quote(name), body="{}")
    assert status == 404, (name, status, text)
    assert "UnknownFunction" in text and "other-" not in text, text

# arguments that are something else than data
for body in ('{"text": {"$eval": "1"}}', '{"text": {"__class__": "os"}}', '{"text": {"$path": "/root/secret.txt"}}', '{"self": 1}', '[', '"x"', ''):
    status, text = attempt("POST", "/s/tools/call/shout", body=body)
    assert status >= 400 and "other-" not in text, (body, status, text)

# nothing of the scoped sandbox is here
assert not os.path.exists("/root/secret.txt")
assert "SCOPED_SECRET" not in os.environ
# and no other port of it is behind the one address
assert attempt("GET", "/secret.txt", host="127.0.0.1:9999")[0] == 401
print("scoped")
`

// TestScopedMeansScoped gives an agent a sandbox of its own and the library.
func TestScopedMeansScoped(t *testing.T) {
	scoped := startScoped(t, seer.SandboxConfig{Env: map[string]string{"SCOPED_SECRET": "other-secret"}})
	require.NoError(t, scoped.WriteFile(t.Context(), "/root/secret.txt", []byte("other-secret")))
	_, err := scoped.Exec(within(t, time.Minute), `cd /root && python -m http.server 9999 >/dev/null 2>&1 & until python -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:9999")'; do sleep 0.05; done 2>/dev/null`)
	require.NoError(t, err)
	serveText(t, scoped, "others", "@expose\ndef secret() -> str: return 'other-secret'\n")
	tools := serveText(t, scoped, "tools", "import os\n@expose\ndef shout(text: str) -> str: return text.upper()\ndef secret(): return 'other-secret'\n")

	library := tools.Library()
	address, err := url.Parse(library.Env["SEER_RPC_TOOLS_URL"])
	require.NoError(t, err)
	server := seertest.NewServer(t, seertest.AllowHost(address.Host))
	library.Env["SEER_RPC_TOOLS_URL"] = strings.Replace(address.String(), address.Hostname(), "host.seer.internal", 1)
	session, err := seer.NewCLISession(t.Context(), startOn(t, server, seer.SandboxConfig{}), &seer.Workspace{
		Libraries: []seer.Library{library}, Skills: []seer.Skill{tools.Skill()},
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, session.Close(t.Context())) })
	assert.Equal(t, "scoped\n", execText(t, session, breakOut))
	assert.Equal(t, "HI", callAs(t, tools, "hi"), "and the service is as it was")
}

func callAs(t *testing.T, tools *seer.Service, text string) string {
	t.Helper()
	shouted, err := seer.CallAs[string](t.Context(), tools, "shout", map[string]any{"text": text})
	require.NoError(t, err)
	return shouted
}
