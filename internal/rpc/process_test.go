//go:build unix

package rpc_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// requireProcessEnds waits for a process that is nobody's child here.
func requireProcessEnds(t *testing.T, pid int) {
	t.Helper()
	require.NotZero(t, pid)
	require.Eventually(t, func() bool {
		return syscall.Kill(pid, 0) != nil
	}, 20*time.Second, 5*time.Millisecond, "process %d is still there", pid)
}

// waitForLog follows a service's log to the first line that has a text.
func waitForLog(t *testing.T, server *rpc.Server, name, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for line, err := range server.Logs(ctx, name, 0, true) {
		require.NoError(t, err)
		if strings.Contains(line.Line, text) {
			return line.Line
		}
	}
	t.Fatalf("the log of %s ended without %q", name, text)
	return ""
}

// However the server ends, its workers and what they started end with it.
func TestNoProcessIsLeft(t *testing.T) {
	t.Parallel()
	source := `
import os, subprocess
child = subprocess.Popen(["sleep", "3600"])
@expose
def pids(): return [os.getpid(), child.pid]
`
	server, cmd := startServerProcess(t, newest(t).path)
	client, _ := serve(t, server, "first", source)
	var replaced, last []int
	require.NoError(t, client.Call(t.Context(), "pids", nil, &replaced))
	client, _ = serve(t, server, "first", source)
	require.NoError(t, client.Call(t.Context(), "pids", nil, &last))
	for _, pid := range replaced {
		requireProcessEnds(t, pid)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	for _, pid := range last {
		requireProcessEnds(t, pid)
	}
}

// The signal may come at any moment, the one in which the server begins to wait for it included.
func TestSigtermEndsAServerThatHasJustStarted(t *testing.T) {
	for range 20 {
		_, cmd := startServerProcess(t, newest(t).path)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		require.NoError(t, cmd.Wait())
		late.Stop()
	}
}

func TestWorkersEndWithAKilledServer(t *testing.T) {
	t.Parallel()
	server, cmd := startServerProcess(t, newest(t).path)
	client, _ := serve(t, server, "first", "import os\n@expose\ndef pid(): return os.getpid()\n")
	var pid int
	require.NoError(t, client.Call(t.Context(), "pid", nil, &pid))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	requireProcessEnds(t, pid)
	assert.Error(t, server.Health(t.Context()))
}

// exchangeRaw sends bytes and returns all that comes back, closing its own
// side so that the server never waits for more.
func exchangeRaw(t *testing.T, address, request string) string {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = conn.Write([]byte(request))
	require.NoError(t, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	answer := make([]byte, 0, 4096)
	buffer := make([]byte, 4096)
	for {
		n, err := tcp.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if err != nil || bytes.Contains(answer, []byte("}")) {
			return string(answer)
		}
	}
}
