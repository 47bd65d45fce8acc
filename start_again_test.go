package seer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/seertest"
)

var twoLayers = seer.SandboxConfig{PythonPackages: []string{"einops"}, SetupCommands: []string{"true"}}

// callsOfStart starts a sandbox that ends with the test.
func callsOfStart(t *testing.T, server *seertest.Server, config seer.SandboxConfig) map[string]int {
	t.Helper()
	before := len(server.Calls())
	startOn(t, server, config)
	return callsByRPC(server.Calls()[before:])
}

func TestASecondStartAsksForNothingTwice(t *testing.T) {
	server := quietServer(t)
	first := callsOfStart(t, server, twoLayers)
	assert.Equal(t, 1, first["AppGetOrCreate"])
	assert.Equal(t, 2, first["ImageGetOrCreate"])

	second := callsOfStart(t, server, twoLayers)
	delete(second, "SandboxGetTaskId") // as many as it takes
	assert.Equal(t, map[string]int{"SandboxCreate": 1, "SandboxTagsSet": 1}, second)

	other := callsOfStart(t, server, seer.SandboxConfig{SetupCommands: []string{"false"}})
	assert.Zero(t, other["AppGetOrCreate"])
	assert.Equal(t, 1, other["ImageGetOrCreate"], "another image")
}

// clientOf is a client below the SDK.
func clientOf(t *testing.T, server *seertest.Server) *modalclient.Client {
	t.Helper()
	endpoint := server.Endpoint()
	client, err := modalclient.New(t.Context(), modalclient.Config{
		ServerURL: endpoint.ServerURL, TokenID: endpoint.TokenID, TokenSecret: endpoint.TokenSecret,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestAStartFindsAnImageThatIsGone(t *testing.T) {
	server := quietServer(t)
	startOn(t, server, twoLayers)
	other := clientOf(t, server)
	app, err := other.App(t.Context(), "seer", true)
	require.NoError(t, err)
	for info, err := range other.List(t.Context(), app, nil) {
		require.NoError(t, err)
		require.NoError(t, other.DeleteImage(t.Context(), info.ImageID))
	}

	calls := callsOfStart(t, server, twoLayers)
	assert.Equal(t, 2, calls["SandboxCreate"])
	assert.Equal(t, 1, calls["AppGetOrCreate"])
	assert.Equal(t, 2, calls["ImageGetOrCreate"])
	assert.Len(t, server.Sandboxes(), 2)
}

// What was recalled is asked for again when an answer says that it holds no
// more, and is no excuse to try twice otherwise.
func TestAStartAsksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		rpc       string
		refusal   codes.Code
		succeeds  bool
		attempted int // SandboxCreate
	}{
		"app gone at create":     {"SandboxCreate", codes.NotFound, true, 2},
		"app stopped at create":  {"SandboxCreate", codes.FailedPrecondition, true, 2},
		"app gone at the image":  {"ImageGetOrCreate", codes.NotFound, true, 1},
		"image that is invalid":  {"ImageGetOrCreate", codes.InvalidArgument, false, 0},
		"sandbox not allowed":    {"SandboxCreate", codes.PermissionDenied, false, 1},
		"sandbox that is absurd": {"SandboxCreate", codes.InvalidArgument, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := quietServer(t)
			startOn(t, server, twoLayers)
			config := twoLayers
			if c.rpc == "ImageGetOrCreate" {
				config.SetupCommands = []string{"false"}
			}
			before := len(server.Calls())
			server.Fail(c.rpc, status.Error(c.refusal, "injected"), 1)
			sandbox, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(t.Context())
			if c.succeeds {
				require.NoError(t, err)
				terminate(t, sandbox)
			} else {
				require.ErrorContains(t, err, "injected")
			}
			assert.Equal(t, c.attempted, callsByRPC(server.Calls()[before:])["SandboxCreate"])
			assert.Len(t, server.Sandboxes(), 1, "the first one")

			after := callsOfStart(t, server, twoLayers)
			if !c.succeeds {
				assert.Equal(t, 1, after["AppGetOrCreate"], "nothing is recalled after a failure")
			}
		})
	}
}

func TestAFirstRefusalIsFinal(t *testing.T) {
	server := quietServer(t)
	server.Fail("SandboxCreate", status.Error(codes.NotFound, "injected"), 1)
	_, err := seer.NewSandbox(twoLayers, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrNotFound)
	assert.Equal(t, 1, callsByRPC(server.Calls())["SandboxCreate"])
}
