package modalserver

import (
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// What a command held is gone once it has ended and was read.
func TestRealCommandsLeaveNoDescriptors(t *testing.T) {
	server := serveReal(t)
	sb := start(t, dial(t, server), nil)
	run := func() {
		assert.Equal(t, "hi\n", output(t, sb, "echo", "hi"))
		assert.Len(t, output(t, sb, "head", "-c", "300000", "/dev/zero"), 300_000)
	}
	run()
	before := descriptors(t)
	for range 3 * keptExecs {
		run()
	}
	assert.Less(t, descriptors(t), before+20)
	held := server.all()[0]
	held.mu.Lock()
	assert.Less(t, len(held.execs), 3*keptExecs)
	held.mu.Unlock()
	held.pool.mu.Lock()
	assert.LessOrEqual(t, held.pool.read, held.pool.budget.sandbox/readShare)
	held.pool.mu.Unlock()
	_, err := sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	<-held.done
	assert.LessOrEqual(t, descriptors(t), before)
	assert.Zero(t, server.outputs.used.Load())
}

// A command that writes faster than anybody reads is held back, and neither its
// end nor that of the sandbox or the server waits for a reader.
func TestRealFloodsAreHeldBackAndEnd(t *testing.T) {
	dir, err := realDir()
	require.NoError(t, err)
	run, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		t.Skipf("this machine cannot run sandboxes: %v", err)
	}
	server := serve(t, Config{Runtime: run, StateDir: t.TempDir(), OutputLimit: 4 << 20})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{Command: []string{"cat", "/dev/zero"}})
	var floods []*modal.ContainerProcess
	for range 3 {
		p, err := sb.Exec(t.Context(), []string{"sh", "-c", "echo $$; exec cat /dev/zero"}, nil)
		require.NoError(t, err)
		floods = append(floods, p)
	}
	var pid []byte
	for one := make([]byte, 1); len(pid) == 0 || one[0] != '\n'; pid = append(pid, one[0]) {
		_, err := io.ReadFull(floods[0].Stdout, one)
		require.NoError(t, err)
	}
	output(t, sb, "kill", "-9", strings.TrimSpace(string(pid)))
	code, err := floods[0].Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 137, code)
	require.NoError(t, floods[0].Stdout.Close())
	pool := server.all()[0].pool
	pool.mu.Lock()
	assert.LessOrEqual(t, pool.held, pool.budget.sandbox+8*blockSize)
	pool.mu.Unlock()
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, server.Close())
}

// A tunnel's URL is one for the host and for the other sandboxes of its server,
// and leads nowhere from those of another server.
func TestRealTunnelsBetweenSandboxes(t *testing.T) {
	dir, err := realDir()
	require.NoError(t, err)
	serveTunnels := func() *Server {
		run, err := linux.New(linux.Config{Dir: dir})
		if err != nil {
			t.Skipf("this machine cannot run sandboxes: %v", err)
		}
		return serve(t, Config{Runtime: run, StateDir: t.TempDir(), TunnelHost: linux.TunnelHost})
	}
	server := serveTunnels()
	client := dial(t, server)
	inside := start(t, client, &modal.SandboxCreateParams{EncryptedPorts: []int{8000}, Command: []string{"python3", "-c", `
import socket
s = socket.create_server(("127.0.0.1", 8000))
while True:
    c, _ = s.accept()
    f = c.makefile("rw")
    f.write("ready\n"); f.flush()
    f.write("served " + f.readline()); f.flush()
    f.close(); c.close()
`}})
	tunnels, err := inside.Tunnels(t.Context(), time.Minute)
	require.NoError(t, err)
	address := net.JoinHostPort(tunnels[8000].Host, strconv.Itoa(tunnels[8000].Port))
	ask := []string{"python3", "-c", `
import socket, sys, time
host, port = sys.argv[1].rsplit(":", 1)
while True:
    try:
        c = socket.create_connection((host, int(port)))
    except ConnectionRefusedError:
        print("refused"); break
    f = c.makefile("rw")
    if f.readline():
        f.write("me\n"); f.flush()
        print(f.readline(), end="")
        break
    time.sleep(0.02)  # nothing listens in the sandbox yet
`, address}
	assert.Equal(t, "served me\n", output(t, start(t, client, nil), ask...))
	assert.Equal(t, "served me\n", output(t, inside, ask...), "the URL works for the sandbox itself too")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "host\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	assert.Equal(t, "ready\nserved host\n", string(answer))

	assert.Equal(t, "refused\n", output(t, start(t, dial(t, serveTunnels()), nil), ask...), "from another server's")
	blocked := start(t, client, &modal.SandboxCreateParams{BlockNetwork: true})
	assert.Equal(t, "refused\n", output(t, blocked, ask...), "with a blocked network")
	ask[3] = server.address
	assert.Equal(t, "refused\n", output(t, start(t, client, nil), ask...), "the server itself")
}
