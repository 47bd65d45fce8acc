package seertest_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// newServer returns a server whose every command succeeds.
func newServer(tb testing.TB) *seertest.Server {
	tb.Helper()
	server := seertest.NewServer(tb)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	return server
}

func TestStalledCallsChangeNothing(t *testing.T) {
	var read atomic.Int64
	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		n, _ := io.Copy(io.Discard, e.Stdin)
		read.Add(n)
		return seertest.Result{}
	})
	sandbox := start(t, server, seer.SandboxConfig{})
	server.Stall("TaskExecStdinWrite", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, sandbox.WriteFile(ctx, "/file", []byte("never")), context.DeadlineExceeded)
	assert.Zero(t, read.Load())
	require.NoError(t, sandbox.WriteFile(t.Context(), "/file", []byte("the next call is served")))
	assert.EqualValues(t, len("the next call is served"), read.Load())
}

func TestLateAnswersComeOfCallsThatRan(t *testing.T) {
	var ran atomic.Int32
	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		_, _ = io.Copy(io.Discard, e.Stdin)
		ran.Add(1)
		return seertest.Result{}
	})
	sandbox := start(t, server, seer.SandboxConfig{})
	server.AnswerLate("TaskExecWait", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := sandbox.Exec(ctx, "true")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.EqualValues(t, 1, ran.Load())
}

func TestCutStreamsAreResumed(t *testing.T) {
	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		for i := range 5 {
			fmt.Fprintln(e.Stdout, i)
		}
		return seertest.Result{}
	})
	sandbox := start(t, server, seer.SandboxConfig{})
	for messages := range 2 {
		server.Cut("TaskExecStdioRead", messages, 2)
		before := len(server.Calls())
		out, err := sandbox.Exec(t.Context(), "count")
		require.NoError(t, err)
		assert.Equal(t, "0\n1\n2\n3\n4\n", out, "nothing is lost or seen twice")
		reads := 0
		for _, call := range server.Calls()[before:] {
			if call.RPC == "TaskExecStdioRead" {
				reads++
			}
		}
		assert.GreaterOrEqual(t, reads, 3, "both streams, and one again")
		server.Heal()
	}
}

func TestCutAnswersAreRepeated(t *testing.T) {
	server := newServer(t)
	server.Cut("SandboxCreate", 0, 1)
	start(t, server, seer.SandboxConfig{})
	creates := 0
	for _, call := range server.Calls() {
		if call.RPC == "SandboxCreate" {
			creates++
		}
	}
	assert.Equal(t, 2, creates)
	assert.Len(t, server.Sandboxes(), 1, "made once")
}

func TestFaultsOfEveryRPC(t *testing.T) {
	server := newServer(t)
	server.Fail("", status.Error(codes.PermissionDenied, "closed today"), -1)
	_, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrUnauthorized)
	require.ErrorContains(t, err, "closed today")
	server.Heal()
	start(t, server, seer.SandboxConfig{})
}

func TestTokensExpireByTheServersClock(t *testing.T) {
	server := seertest.NewServer(t)
	release := make(chan struct{})
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		fmt.Fprint(e.Stdout, "before ")
		<-release
		fmt.Fprint(e.Stdout, "after")
		return seertest.Result{}
	})
	sandbox := start(t, server, seer.SandboxConfig{})
	var out strings.Builder
	cmd := sandbox.Command("long")
	cmd.Stdout = &out
	require.NoError(t, cmd.Start(t.Context()))
	server.AdvanceClock(2 * time.Hour)
	server.Cut("TaskExecStdioRead", 0, 2)
	close(release)
	require.NoError(t, cmd.Wait())
	assert.Equal(t, "before after", out.String())
	assert.True(t, slices.ContainsFunc(server.Calls(), func(c seertest.Call) bool { return c.RPC == "TaskGetCommandRouterAccess" }))
}

func TestAClockThatIsTooFastSaysSo(t *testing.T) {
	server := newServer(t)
	server.AdvanceClock(-2 * time.Hour) // so that ours is ahead
	_, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrUnauthorized)
	require.ErrorContains(t, err, "set the clock")
	asked := 0
	for _, call := range server.Calls() {
		if call.RPC == "AuthTokenGet" {
			asked++
		}
	}
	assert.Equal(t, 1, asked)

	server.AdvanceClock(2*time.Hour - time.Minute)
	start(t, server, seer.SandboxConfig{})
}
