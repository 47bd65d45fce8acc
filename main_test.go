package seer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startSandbox starts a sandbox of real processes that ends with the test.
func startSandbox(t *testing.T, config seer.SandboxConfig, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	return startOn(t, seertest.NewServer(t), config, opts...)
}

func startOn(t *testing.T, server *seertest.Server, config seer.SandboxConfig, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	sandbox, err := seer.NewSandbox(config, append([]seer.Option{seer.WithBackend(server.Backend())}, opts...)...).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, sandbox) })
	return sandbox
}

func terminate(t *testing.T, sandbox *seer.Sandbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, sandbox.Terminate(ctx))
}

// within bounds a part of a test that would otherwise hang for ever.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
