package modalserver

import (
	"io"
	"testing"

	modal "github.com/modal-labs/libmodal/modal-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start creates a sandbox on a base image.
func start(t *testing.T, client *modal.Client, params *modal.SandboxCreateParams) *modal.Sandbox {
	t.Helper()
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	sb, err := client.Sandboxes.Create(t.Context(), app, client.Images.FromRegistry("debian:12-slim", nil), params)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	return sb
}

func TestFirstSandbox(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	sb := start(t, client, nil)
	require.Len(t, server.Sandboxes(), 1)
	assert.Equal(t, sb.SandboxID, server.Sandboxes()[0].ID)

	p, err := sb.Exec(t.Context(), []string{"echo", "hello"}, nil)
	require.NoError(t, err)
	out, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
	code, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Zero(t, code)

	code, err = sb.Terminate(t.Context(), &modal.SandboxTerminateParams{Wait: true})
	require.NoError(t, err)
	assert.Equal(t, 137, code)
	assert.Empty(t, server.Sandboxes())
}
