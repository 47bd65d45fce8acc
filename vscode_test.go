package seer_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// Building the layer with VS Code takes minutes, once per machine.
const vscodeBuild = 15 * time.Minute

func TestDebugRunsVSCode(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, vscodeBuild)
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{Debug: true}, seer.WithBackend(server.Backend())).Start(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, sandbox) })

	address, err := url.Parse(sandbox.CodeServerURL())
	require.NoError(t, err)
	assert.Equal(t, "/workspace", address.Query().Get("folder"))
	password := sandbox.CodeServerPassword()
	assert.Len(t, password, 26)

	var health struct {
		Status string `json:"status"`
	}
	status, body := get(t, http.DefaultClient, address.ResolveReference(&url.URL{Path: "/healthz"}).String())
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, json.Unmarshal([]byte(body), &health), "%s", body)

	_, login := get(t, http.DefaultClient, address.String())
	assert.Contains(t, login, `type="password"`, "a stranger is asked for the password")

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	entrance := address.ResolveReference(&url.URL{Path: "/login"}).String()
	post(t, client, entrance, "wrong")
	_, page := get(t, client, address.String())
	assert.Contains(t, page, `type="password"`, "a wrong password changes nothing")
	post(t, client, entrance, password)
	_, page = get(t, client, address.String())
	assert.Contains(t, page, "workbench")

	settings, err := sandbox.ReadFile(ctx, "/root/.local/share/code-server/User/settings.json")
	require.NoError(t, err)
	assert.Contains(t, string(settings), "workbench.startupEditor")

	// Nothing that runs shows the password.
	out, err := sandbox.Exec(ctx, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
	require.NoError(t, err)
	assert.NotContains(t, out, password)
	assert.Contains(t, out, "code-server")
	assert.Contains(t, out, "VSCODE_CLI=1", "terminals keep the PATH of the image")

	again, err := seer.FromID(ctx, sandbox.SandboxID(), seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	assert.Equal(t, sandbox.CodeServerURL(), again.CodeServerURL())
	assert.Equal(t, password, again.CodeServerPassword())
	require.NoError(t, again.Close())

	renewed, err := seer.FromID(ctx, sandbox.SandboxID(), seer.WithBackend(server.Backend()), seer.WithNewTokens())
	require.NoError(t, err)
	assert.NotEqual(t, password, renewed.CodeServerPassword())
	_, page = get(t, client, address.String())
	assert.Contains(t, page, `type="password"`, "who was in is out")
	post(t, client, entrance, renewed.CodeServerPassword())
	_, page = get(t, client, address.String())
	assert.Contains(t, page, "workbench")
	require.NoError(t, renewed.Close())
}

func get(t *testing.T, client *http.Client, address string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t, patience), http.MethodGet, address, nil)
	require.NoError(t, err)
	return do(t, client, request)
}

func post(t *testing.T, client *http.Client, address, password string) {
	t.Helper()
	form := url.Values{"password": {password}}.Encode()
	request, err := http.NewRequestWithContext(within(t, patience), http.MethodPost, address, strings.NewReader(form))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	do(t, client, request)
}

func do(t *testing.T, client *http.Client, request *http.Request) (status int, body string) {
	t.Helper()
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data)
}
