package seer_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(forgetfulURL); url != "" {
		forget(url)
		return
	}
	if listen := os.Getenv(serverListen); listen != "" {
		serveUntilKilled(listen)
		return
	}
	if mark := os.Getenv(leavingMark); mark != "" {
		leave(mark)
		return
	}
	for _, name := range []string{"HF_ENDPOINT", "HF_TOKEN"} { // those of who runs the tests
		_ = os.Unsetenv(name) // which a name with "=" in it would make fail
	}
	// Most of a test's time is spent waiting for processes.
	_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // which -parallel overrides
	goleak.VerifyTestMain(m)
}

// forgetfulURL makes this test program one that starts a sandbox and never ends it.
const (
	forgetfulURL   = "SEER_TEST_FORGETFUL_URL"
	forgetfulLease = "SEER_TEST_FORGETFUL_LEASE"
	forgetfulLife  = "SEER_TEST_FORGETFUL_LIFE" // its MaxLifetime
)

func forget(url string) {
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{ServerURL: url, TokenID: "ak-x", TokenSecret: "as-x", PlainTunnels: true}, nil
	}, nil)
	lease, err := time.ParseDuration(os.Getenv(forgetfulLease))
	if err != nil {
		fmt.Println(err)
		return
	}
	var config seer.SandboxConfig
	if life := os.Getenv(forgetfulLife); life != "" {
		if config.MaxLifetime, err = time.ParseDuration(life); err != nil {
			fmt.Println(err)
			return
		}
		config.SnapshotBeforeEnd = config.MaxLifetime / 2
	}
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(backend), seer.WithLease(lease)).Start(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sandbox.SandboxID())
	select {}
}

// endClosed ends a sandbox whose handle was closed on purpose.
func endClosed(t *testing.T, server *seertest.Server, sandboxID string) {
	t.Helper()
	again, err := seer.FromID(t.Context(), sandboxID, seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	terminate(t, again)
}

// startClosed starts a sandbox and detaches from it.
func startClosed(t *testing.T, server *seertest.Server, config seer.SandboxConfig, opts ...seer.Option) *seer.Sandbox {
	t.Helper()
	sandbox, err := seer.NewSandbox(config, append([]seer.Option{seer.WithBackend(server.Backend())}, opts...)...).Start(t.Context())
	require.NoError(t, err)
	require.NoError(t, sandbox.Close())
	return sandbox
}

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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, sandbox.Terminate(ctx))
}

// patience is for what should be done at once. A busy machine that has everything
// to install may take minutes.
const patience = 5 * time.Minute

// within bounds a part of a test that would otherwise hang for ever.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
