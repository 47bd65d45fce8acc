package seertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, server *seertest.Server, config seer.SandboxConfig) *seer.Sandbox {
	t.Helper()
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sandbox.Terminate(context.Background())) })
	return sandbox
}

func TestScriptedCommands(t *testing.T) {
	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		switch e.Args[0] {
		case "fail":
			fmt.Fprint(e.Stderr, "as told")
			return seertest.Result{Code: 4}
		case "upper":
			data, _ := io.ReadAll(e.Stdin)
			fmt.Fprint(e.Stdout, strings.ToUpper(string(data)))
		case "env":
			fmt.Fprint(e.Stdout, strings.Join(e.Env, " "))
		case "hang":
			fmt.Fprint(e.Stdout, "up")
			<-e.Context.Done()
		default:
			fmt.Fprintf(e.Stdout, "%q in %q", e.Args, e.Dir)
		}
		return seertest.Result{}
	})
	sandbox := start(t, server, seer.SandboxConfig{PythonPackages: []string{"torch"}})

	out, err := sandbox.Exec(t.Context(), "echo hi")
	require.NoError(t, err)
	assert.Equal(t, `["bash" "-c" "echo hi"] in "/"`, out)

	err = sandbox.Command("fail").Run(t.Context())
	var exit *seer.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 4, exit.Code)
	assert.Equal(t, "as told", exit.Stderr)

	cmd := sandbox.Command("upper")
	cmd.Stdin = strings.NewReader("quiet")
	data, err := cmd.Output(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "QUIET", string(data))

	cmd = sandbox.Command("env")
	cmd.Env = []string{"A=1"}
	data, err = cmd.Output(t.Context())
	require.NoError(t, err)
	assert.Contains(t, string(data), "A=1")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, sandbox.Command("hang").Run(ctx), context.DeadlineExceeded)
}

func TestCallsAndFaults(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	server.Fail("SandboxCreate", errors.New("out of sandboxes"), 1)
	_, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorContains(t, err, "out of sandboxes")

	start(t, server, seer.SandboxConfig{})
	var rpcs []string
	for _, call := range server.Calls() {
		rpcs = append(rpcs, call.RPC)
	}
	assert.Subset(t, rpcs, []string{"AuthTokenGet", "AppGetOrCreate", "ImageGetOrCreate", "SandboxCreate", "SandboxGetTaskId"})
	assert.Len(t, server.Sandboxes(), 1)

	// Every kind of call fails as often as it was told to, and no retry hides it.
	sandbox := start(t, server, seer.SandboxConfig{})
	for _, rpc := range []string{"TaskExecStart", "TaskExecWait", "TaskExecStdioRead"} {
		// Making sure that the last command is dead, beside this, meets it at times.
		for err = nil; err == nil; {
			server.Fail(rpc, errors.New("out of luck"), 1)
			_, err = sandbox.Exec(t.Context(), "true")
		}
		require.ErrorContains(t, err, "out of luck", rpc)
		server.Heal()
		_, err = sandbox.Exec(t.Context(), "true")
		require.NoError(t, err, rpc)
	}

	server.Delay("SandboxCreate", time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// watched is a test that fails, as far as it is told.
type watched struct {
	testing.TB
	cleanups []func()
	failures []string
}

func (w *watched) Cleanup(clean func()) { w.cleanups = append(w.cleanups, clean) }
func (w *watched) Errorf(format string, args ...any) {
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

func TestWhatIsLeftRunningFailsTheTest(t *testing.T) {
	w := &watched{TB: t}
	server := newServer(w)
	kept, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.NoError(t, err)
	ended, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.NoError(t, err)
	require.NoError(t, ended.Terminate(t.Context()))
	require.NoError(t, kept.Close()) // which leaves the sandbox alone

	require.Len(t, w.cleanups, 1)
	w.cleanups[0]()
	assert.Equal(t, []string{"seertest: sandbox " + kept.SandboxID() + " still runs at the end of the test"}, w.failures)
	assert.Empty(t, server.Sandboxes(), "it is ended all the same")
}
