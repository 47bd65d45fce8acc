package seer_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

// serverListen makes this test program a local server on that address.
const serverListen = "SEER_TEST_SERVER_LISTEN"

func serveUntilKilled(listen string) {
	server, err := local.Serve(context.Background(), local.ServeOptions{Listen: listen, TokenID: "ak-x", TokenSecret: "as-x"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.URL())
	select {}
}

// startServer starts a server as a program of its own, and waits until it listens.
func startServer(t *testing.T, listen string) (address string, kill func()) {
	t.Helper()
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), serverListen+"="+listen)
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	at, err := url.Parse(strings.TrimSpace(line))
	require.NoError(t, err)
	require.Equal(t, "http", at.Scheme, "the program said %s", line)
	return at.Host, func() {
		require.NoError(t, program.Process.Kill())
		_ = program.Wait() // killed
	}
}

func TestServerIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	// While it is down, no other test's server may get its port: those are at 127.0.0.1.
	address, kill := startServer(t, "127.0.0.2:0")
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{ServerURL: "http://" + address, TokenID: "ak-x", TokenSecret: "as-x", PlainTunnels: true, NoGPU: true}, nil
	}, nil)
	start := func() *seer.Sandbox {
		sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(within(t, patience))
		require.NoError(t, err)
		return sandbox
	}
	sandbox := start()
	long := sandbox.Command("sleep", "1000")
	require.NoError(t, long.Start(t.Context()))

	kill()
	require.ErrorIs(t, long.Wait(), seer.ErrSandboxLost, "a command under way")
	_, err := sandbox.Exec(within(t, patience), "true")
	require.ErrorIs(t, err, seer.ErrSandboxLost, "the next one")
	_, err = sandbox.Snapshot(within(t, patience), "of nothing")
	require.Error(t, err)
	assert.ErrorContains(t, err, "connection refused")
	_, err = seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(within(t, patience))
	require.Error(t, err)
	assert.ErrorContains(t, err, "connection refused")

	again, killAgain := startServer(t, address)
	defer killAgain()
	require.Equal(t, address, again)
	other := start() // over the same connection
	out, err := other.Exec(within(t, patience), "echo back")
	require.NoError(t, err)
	assert.Equal(t, "back\n", out)
	_, err = sandbox.Exec(within(t, patience), "true")
	require.ErrorIs(t, err, seer.ErrSandboxLost, "it went with the server")
	require.NoError(t, sandbox.Terminate(within(t, patience)))
	require.NoError(t, other.Terminate(within(t, patience)))
}
