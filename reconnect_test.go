package seer_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// Another program finds everything that a running sandbox has, and nothing
// secret lies about for it; a restored sandbox has what was cloned.
func TestFromIDRestoresWhatASandboxHas(t *testing.T) { // D10
	host := newGitHost(t)
	server := seertest.NewServer(t, seertest.AllowHost(host.address))
	backend := seer.WithBackend(server.Backend())
	t.Setenv("SEER_TEST_RECONNECT", "a-secret-value")
	config := host.config(t, seer.RepoConfig{URL: host.url + "/public/tool.git"}, seer.RepoConfig{URL: host.url + "/public/foo.github.io.git", Branch: "dev"})
	config.Secrets = append(config.Secrets, "SEER_TEST_RECONNECT")
	config.EncryptedPorts = []int{9000, 9001}
	config.Timeout, config.MaxLifetime = 2*time.Hour, time.Hour
	config.Tags = map[string]string{"team": "red"}

	first, err := seer.NewSandbox(config, backend, seer.WithAppName("experiments")).Start(within(t, patience))
	require.NoError(t, err)
	handles := first.RepoHandles()
	require.Len(t, handles, 2)
	assert.Equal(t, host.heads["dev"], handles[1].Commit)
	url, err := first.URL(t.Context(), 9001)
	require.NoError(t, err)
	require.NoError(t, first.Close())

	again, err := seer.FromID(t.Context(), first.SandboxID(), backend)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, again) })
	assert.Equal(t, handles, again.RepoHandles())
	found, err := again.URL(t.Context(), 9001)
	require.NoError(t, err)
	assert.Equal(t, url, found)
	assert.Equal(t, "local", again.Backend())
	infos := list(t, seer.Filter{Tags: config.Tags}, backend, seer.WithAppName("experiments"))
	require.Len(t, infos, 1, "in the app that it was started in")
	assert.Equal(t, first.SandboxID(), infos[0].ID)

	out, err := again.Exec(t.Context(), `echo "$SEER_TEST_RECONNECT"; cat /proc/1/cmdline | grep -c a-secret-value`)
	require.Error(t, err, "grep finds nothing")
	assert.Equal(t, "a-secret-value\n0\n", out)

	_, err = again.Exec(t.Context(), "echo changed >"+handles[0].Path+"/branch")
	require.NoError(t, err)
	snapshot, err := again.Snapshot(t.Context(), "by another program")
	require.NoError(t, err)
	assert.Equal(t, handles, snapshot.Repos)
	want := config
	want.Env = nil // its values stay with the program that set them
	assert.Equal(t, want, snapshot.Config)

	restored, err := seer.FromSnapshot(t.Context(), snapshot, config, backend)
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, restored) })
	assert.Equal(t, handles, restored.RepoHandles())
	out, err = restored.Exec(t.Context(), "cat "+handles[0].Path+"/branch")
	require.NoError(t, err)
	assert.Equal(t, "changed\n", out, "nothing is cloned again")
}

// TestNewTokens: who connects may lock out everybody who was let in before.
func TestNewTokens(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	first := startScopedOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
	served := serveText(t, first, "tools", whoProgram)
	session := startNotebook(t, first.Sandbox, nil, seer.NotebookOptions{})
	_, err := session.Exec(t.Context(), "kept = 1")
	require.NoError(t, err)
	library := localSession(t, served.Library())
	before := first.JupyterURL()

	same, err := seer.ScopedFromID(t.Context(), first.SandboxID(), backend)
	require.NoError(t, err)
	assert.Equal(t, before, same.JupyterURL(), "the agents that use it go on")
	found, err := same.Service(t.Context(), "tools")
	require.NoError(t, err)
	assert.Equal(t, served.Library().Env, found.Library().Env)
	require.NoError(t, same.Close())

	again, err := seer.ScopedFromID(t.Context(), first.SandboxID(), backend, seer.WithNewTokens())
	require.NoError(t, err)
	defer func() { require.NoError(t, again.Close()) }()
	status := func(address string) int {
		u, err := url.Parse(address)
		require.NoError(t, err)
		u.Path = "/api/kernels"
		status, _ := get(t, http.DefaultClient, u.String())
		return status
	}
	assert.Equal(t, http.StatusForbidden, status(before))
	assert.Equal(t, http.StatusOK, status(again.JupyterURL()))
	_, err = again.Service(t.Context(), "tools")
	require.ErrorIs(t, err, seer.ErrNotFound)
	renewed := serveText(t, again, "tools", whoProgram)
	assert.Equal(t, "me", callText(t, renewed, "who"))
	_, err = library.Exec(t.Context(), "import tools; tools.who()")
	require.ErrorContains(t, err, "Unauthorized")
	_, err = session.Exec(t.Context(), "kept")
	require.ErrorIs(t, err, seer.ErrKernelDied)
	out, err := again.Exec(t.Context(), "pgrep -fc [i]pykernel_launcher || true")
	require.NoError(t, err)
	assert.Equal(t, "0\n", out)
}
