package seer_test

import (
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

	first, err := seer.NewSandbox(config, backend, seer.WithAppName("experiments")).Start(within(t, time.Minute))
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

	out, err := again.Exec(t.Context(), `echo "$SEER_TEST_RECONNECT"; stat -c '%a %u' /dev/shm/seer/state.json; cat /dev/shm/seer/state.json /proc/1/cmdline | grep -c a-secret-value`)
	require.Error(t, err, "grep finds nothing")
	assert.Equal(t, "a-secret-value\n600 0\n0\n", out)

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
