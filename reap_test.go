package seer_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// startForgetful runs a program that starts a sandbox and kills the program
// when told to. It returns the sandbox's ID.
func startForgetful(t *testing.T, server *seertest.Server, lease string, environ ...string) (id string, kill func()) {
	t.Helper()
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = slices.Concat(os.Environ(), []string{forgetfulURL + "=" + server.Endpoint().ServerURL, forgetfulLease + "=" + lease}, environ)
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		rest, _ := io.ReadAll(stdout)
		t.Fatalf("the program said %q%q: %v", line, rest, err)
	}
	return strings.TrimSpace(line), func() {
		require.NoError(t, program.Process.Kill())
		_ = program.Wait() // killed
	}
}

func TestReapEndsWhatNobodyKeeps(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	mine := startOn(t, server, seer.SandboxConfig{}, seer.WithLease(-1))
	closed := startClosed(t, server, seer.SandboxConfig{}, seer.WithLease(-1))
	forgotten, kill := startForgetful(t, server, "-1s")
	adopted, killOther := startForgetful(t, server, "10m")

	orphans, err := seer.Orphans(t.Context(), backend)
	require.NoError(t, err)
	assert.Empty(t, orphans, "its program lives")

	kill()
	killOther()
	orphans, err = seer.Orphans(t.Context(), backend)
	require.NoError(t, err)
	require.Len(t, orphans, 1, "a lease that has not run out keeps the other")
	assert.Equal(t, forgotten, orphans[0].ID)

	ended, err := seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	assert.Equal(t, orphans, ended)
	assert.ElementsMatch(t, []string{mine.SandboxID(), closed.SandboxID(), adopted}, server.Sandboxes())
	require.NoError(t, seer.TerminateAll(t.Context(), []string{closed.SandboxID(), adopted}, backend))
}
