package seer_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// links is how many snapshots of snapshots are certain to work.
const links = 10

func TestAChainOfSnapshotsKeepsEveryLink(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, 2*time.Minute)
	sandbox := startOn(t, server, seer.SandboxConfig{})
	want := ""
	for i := range links {
		_, err := sandbox.Exec(ctx, fmt.Sprintf(`mkdir -p /opt/chain && echo %d >/opt/chain/%d && rm -f /opt/chain/%d`, i, i, i-3))
		require.NoError(t, err)
		snapshot, err := sandbox.SnapshotAndTerminate(ctx, fmt.Sprint("link ", i))
		require.NoError(t, err)
		next, err := seer.FromSnapshot(ctx, snapshot, snapshot.Config, seer.WithBackend(server.Backend()))
		require.NoError(t, err)
		t.Cleanup(func() { terminate(t, next) })
		sandbox = next
	}
	for i := links - 3; i < links; i++ {
		want += fmt.Sprintln(i)
	}
	got, err := sandbox.Exec(ctx, "cat /opt/chain/*")
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

const chainTools = `
LOG = "/workspace/log"
@expose
def add(text: str) -> str:
    with open(LOG, "a") as out: out.write(text)
    with open(LOG) as log: return log.read()
`

// Functions are not part of a snapshot: each link serves them again, and goes
// on where the last one stopped.
func TestAChainOfScopedSandboxes(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, 3*time.Minute)
	scoped := startScopedOn(t, server, seer.SandboxConfig{})
	want, tokens := "", map[string]bool{}
	for i := range links {
		tools := serveText(t, scoped, "tools", chainTools)
		for _, value := range tools.Library().Env {
			tokens[value] = true
		}
		want += fmt.Sprint(i)
		got, err := seer.CallAs[string](ctx, tools, "add", map[string]any{"text": fmt.Sprint(i)})
		require.NoError(t, err)
		require.Equal(t, want, got)
		snapshot, err := scoped.SnapshotAndTerminate(ctx, fmt.Sprint("link ", i))
		require.NoError(t, err)
		require.ErrorIs(t, tools.Call(ctx, "add", map[string]any{"text": "late"}, nil), seer.ErrTerminated)
		next, err := seer.ScopedFromSnapshot(ctx, snapshot, snapshot.Config, seer.WithBackend(server.Backend()))
		require.NoError(t, err)
		t.Cleanup(func() { terminate(t, next.Sandbox) })
		scoped = next
		names, err := scoped.Services(ctx)
		require.NoError(t, err)
		require.Empty(t, names)
	}
	assert.GreaterOrEqual(t, len(tokens), links, "each link has tokens of its own")
	library := localSession(t, serveText(t, scoped, "tools", chainTools).Library())
	assert.Equal(t, want+"!\n", execText(t, library, "import tools; print(tools.add('!'))"), "and an agent's library reaches the last")
}

// Jupyter comes back with each link, at a new address and with a new token.
func TestAChainOfNotebookSandboxes(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	server := seertest.NewServer(t)
	ctx := within(t, 3*time.Minute)
	sandbox := startOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
	tell := "print(open('/workspace/log').read(), end='')"
	session := startNotebook(t, sandbox, nil, seer.NotebookOptions{})
	require.Equal(t, "begun", text(t, session, "print('begun', end='', file=open('/workspace/log', 'w'), flush=True)\n"+tell))
	closeSession(t, session)
	addresses := map[string]bool{}
	for i := range links {
		addresses[sandbox.JupyterURL()] = true
		address, err := url.Parse(sandbox.JupyterURL())
		require.NoError(t, err)
		status, _ := get(t, http.DefaultClient, address.ResolveReference(&url.URL{Path: "/api/kernels", RawQuery: address.RawQuery}).String())
		require.Equal(t, http.StatusOK, status)
		snapshot, err := sandbox.SnapshotAndTerminate(ctx, fmt.Sprint("link ", i))
		require.NoError(t, err)
		next, err := seer.FromSnapshot(ctx, snapshot, snapshot.Config, seer.WithBackend(server.Backend()))
		require.NoError(t, err)
		t.Cleanup(func() { terminate(t, next) })
		sandbox = next
	}
	assert.Len(t, addresses, links)
	testJupyterToken(t, sandbox)
	assert.Equal(t, "begun", text(t, startNotebook(t, sandbox, nil, seer.NotebookOptions{}), tell))
}
