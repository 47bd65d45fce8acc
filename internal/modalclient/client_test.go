package modalclient_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
)

func TestNoVariableChangesTheServer(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "modal.toml")
	require.NoError(t, os.WriteFile(profile, []byte("[work]\nactive = true\nserver_url = \"http://127.0.0.1:1\"\ntoken_id = \"ak-no\"\ntoken_secret = \"as-no\"\nenvironment = \"prod\"\n"), 0o600))
	for variable, value := range map[string]string{
		"MODAL_PROFILE":               "work",
		"MODAL_CONFIG_PATH":           profile,
		"MODAL_TOKEN_ID":              "ak-no",
		"MODAL_TOKEN_SECRET":          "as-no",
		"MODAL_ENVIRONMENT":           "prod",
		"MODAL_IMAGE_BUILDER_VERSION": "2023.12",
		"MODAL_LOGLEVEL":              "nonsense",
	} {
		t.Run(variable, func(t *testing.T) {
			w := newWorld(t, idle())
			t.Setenv(variable, value)
			client, err := modalclient.New(t.Context(), w.config())
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close()) }()
			app, err := client.App(t.Context(), "a", true)
			require.NoError(t, err)
			_, err = client.BuildImage(t.Context(), app, "debian:12-slim", nil, nil)
			require.NoError(t, err)
			assert.Contains(t, text(t, w.request("AppGetOrCreate")), `environment_name:"main"`)
			assert.Contains(t, text(t, w.request("ImageGetOrCreate")), `builder_version:"2025.06"`)
		})
	}
	t.Run("MODAL_SERVER_URL", func(t *testing.T) {
		w, other := newWorld(t, idle()), newWorld(t, idle())
		t.Setenv("MODAL_SERVER_URL", other.server.URL())
		calls := other.record(func() {
			_, err := modalclient.New(t.Context(), w.config())
			require.ErrorContains(t, err, "MODAL_SERVER_URL points to")
		})
		assert.Empty(t, calls)
	})
}

func TestProfileOfModal(t *testing.T) {
	w := newWorld(t, idle())
	profile := filepath.Join(t.TempDir(), "modal.toml")
	for _, variable := range []string{"MODAL_PROFILE", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_SERVER_URL", "MODAL_ENVIRONMENT", "MODAL_IMAGE_BUILDER_VERSION"} {
		t.Setenv(variable, "")
	}
	t.Setenv("MODAL_CONFIG_PATH", profile)
	assert.False(t, modalclient.HasCredentials(), "no file")
	_, err := modalclient.New(t.Context(), modalclient.Config{})
	require.ErrorIs(t, err, modalclient.ErrUnauthorized)
	assert.ErrorContains(t, err, "MODAL_TOKEN_ID")

	require.NoError(t, os.WriteFile(profile, []byte("token_secret = [broken"), 0o600))
	assert.True(t, modalclient.HasCredentials(), "a broken file is an error to be seen")
	_, err = modalclient.New(t.Context(), modalclient.Config{})
	require.ErrorContains(t, err, "not valid TOML")
	assert.NotContains(t, err.Error(), "broken")

	require.NoError(t, os.WriteFile(profile, []byte(`
[other]
token_id = "ak-other"
[mine]
active = true
server_url = "`+w.server.URL()+`"
token_id = "ak-test"
token_secret = "as-test"
environment = "dev"
image_builder_version = "2024.10"
`), 0o600))
	assert.True(t, modalclient.HasCredentials())
	client, err := modalclient.New(t.Context(), modalclient.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	app, err := client.App(t.Context(), "a", true)
	require.NoError(t, err)
	_, err = client.BuildImage(t.Context(), app, "debian:12-slim", nil, nil)
	require.NoError(t, err)
	assert.Contains(t, text(t, w.request("AppGetOrCreate")), `environment_name:"dev"`)
	assert.Contains(t, text(t, w.request("ImageGetOrCreate")), `builder_version:"2024.10"`)

	t.Setenv("MODAL_PROFILE", "other")
	assert.False(t, modalclient.HasCredentials())
	t.Setenv("MODAL_TOKEN_SECRET", "as-other")
	assert.True(t, modalclient.HasCredentials())
}

func TestWrongToken(t *testing.T) {
	w := newWorld(t, idle())
	var log bytes.Buffer
	config := w.config()
	config.TokenSecret = "as-wrong-secret"
	config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_, err := modalclient.New(t.Context(), config)
	require.ErrorIs(t, err, modalclient.ErrUnauthorized)
	assert.ErrorContains(t, err, "modal token new")
	for _, said := range []string{err.Error(), log.String()} {
		assert.NotContains(t, said, "rpc error")
		assert.NotContains(t, said, "as-wrong-secret")
	}
}

func TestNewIsBoundedByItsContext(t *testing.T) {
	// A listener that never answers.
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		conn, err := listener.Accept()
		cancel(cause)
		if err == nil {
			_ = conn.Close()
		}
	}()
	_, err = modalclient.New(ctx, modalclient.Config{ServerURL: "http://" + listener.Addr().String(), TokenID: "a", TokenSecret: "b"})
	require.ErrorIs(t, err, cause)
}

func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	_, err := modalclient.New(t.Context(), modalclient.Config{ServerURL: "http://127.0.0.1:1", TokenID: "a", TokenSecret: "b"})
	require.ErrorContains(t, err, "connection refused")
	assert.NotContains(t, err.Error(), "transport:")
	assert.NotContains(t, err.Error(), "desc =")
}

func TestRateLimitsAreWaitedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idle())
	refusals := 2
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "AppGetOrCreate" && refusals > 0 {
			refusals--
			return status.Error(codes.ResourceExhausted, "slow down")
		}
		return nil
	})
	_, err := w.App(t.Context(), "a", true)
	require.NoError(t, err)
	assert.Zero(t, refusals)
}

func TestRateLimitsAreBoundedByTheContext(t *testing.T) {
	w := newWorld(t, idle())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	asked := 0
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "AppGetOrCreate" {
			if asked++; asked > 1 {
				cancel()
			}
			return status.Error(codes.ResourceExhausted, "slow down")
		}
		return nil
	})
	_, err := w.App(ctx, "a", true)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "slow down", "the server's words")
}

func TestLimitsThatNoWaitingLiftsAreToldAtOnce(t *testing.T) {
	w := newWorld(t, idle())
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "AppGetOrCreate" {
			return status.Error(codes.ResourceExhausted, "workspace billing limit reached")
		}
		return nil
	})
	calls := w.record(func() {
		_, err := w.App(t.Context(), "a", true)
		require.ErrorContains(t, err, "workspace billing limit reached")
	})
	assert.Equal(t, []string{"AppGetOrCreate"}, calls)
}

func TestErrorsHaveKinds(t *testing.T) {
	w := newWorld(t, idle())
	_, err := w.Volume(t.Context(), "none", false)
	require.ErrorIs(t, err, modalclient.ErrNotFound)
	_, err = w.Sandbox(t.Context(), "sb-0123456789012345678901")
	require.ErrorIs(t, err, modalclient.ErrNotFound)
	require.ErrorIs(t, w.ImageExists(t.Context(), "im-0123456789012345678901"), modalclient.ErrNotFound)
	require.NoError(t, w.DeleteImage(t.Context(), "im-0123456789012345678901"))

	app, image := w.image(t)
	require.NoError(t, w.ImageExists(t.Context(), image))
	gpu := spec(image)
	gpu.GPU = "A100"
	_, err = w.Create(t.Context(), app, gpu)
	require.ErrorIs(t, err, modalclient.ErrNoGPU)
	cidr := spec(image)
	cidr.CIDRAllowlist = []string{"nonsense"}
	_, err = w.Create(t.Context(), app, cidr)
	require.ErrorIs(t, err, modalclient.ErrInvalid)
	assert.Equal(t, "create sandbox: Invalid CIDR: nonsense", err.Error())
	empty := spec(image)
	empty.Command = nil
	_, err = w.Create(t.Context(), app, empty)
	require.ErrorIs(t, err, modalclient.ErrInvalid)
	assert.Empty(t, w.server.Sandboxes())
}

func TestVolumes(t *testing.T) {
	w := newWorld(t, idle())
	made, err := w.Volume(t.Context(), "cache", true)
	require.NoError(t, err)
	assert.Contains(t, text(t, w.request("VolumeGetOrCreate")), "version:VOLUME_FS_VERSION_V2")
	found, err := w.Volume(t.Context(), "cache", false)
	require.NoError(t, err)
	assert.Equal(t, made, found)
	_, err = w.VolumeReadFile(t.Context(), made, "/none")
	require.ErrorIs(t, err, modalclient.ErrNotFound)
	require.NoError(t, w.DeleteVolume(t.Context(), made))
	require.NoError(t, w.DeleteVolume(t.Context(), made))
	_, err = w.Volume(t.Context(), "cache", false)
	require.ErrorIs(t, err, modalclient.ErrNotFound)
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	w := newWorld(t, idle())
	secret, err := w.Secret(t.Context(), map[string]string{"TOKEN": "hunter2"})
	require.NoError(t, err)
	require.NoError(t, w.DeleteSecret(t.Context(), secret))
	require.NoError(t, w.DeleteSecret(t.Context(), secret))
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		return status.Errorf(codes.InvalidArgument, "malformed value hunter2")
	})
	_, err = w.Secret(t.Context(), map[string]string{"TOKEN": "hunter2"})
	require.ErrorIs(t, err, modalclient.ErrInvalid)
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestClosedClient(t *testing.T) {
	w := newWorld(t, idle())
	s := w.sandbox(t)
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	_, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"true"}})
	require.ErrorIs(t, err, modalclient.ErrClosed)
}
