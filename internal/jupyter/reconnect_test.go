package jupyter_test

import (
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

// proxy passes TCP connections on and can cut them.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	blocked bool
	conns   map[net.Conn]bool
}

func newProxy(t *testing.T, config jupyter.Config) (*proxy, jupyter.Config) {
	t.Helper()
	target, err := url.Parse(config.BaseURL)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target.Host, conns: make(map[net.Conn]bool)}
	p.wg.Go(func() { p.accept(context.WithoutCancel(t.Context())) })
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		p.block()
		p.wg.Wait()
	})
	config.BaseURL = "http://" + listener.Addr().String()
	return p, config
}

func (p *proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
		if err != nil || !p.add(client, server) {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { p.pass(client, server) })
		p.wg.Go(func() { p.pass(server, client) })
	}
}

func (p *proxy) add(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocked {
		_ = server.Close()
		return false
	}
	p.conns[client], p.conns[server] = true, true
	return true
}

func (p *proxy) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from) // cut connections are the point
	_, _ = from.Close(), to.Close()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

// block also refuses new ones, until unblock.
func (p *proxy) block() {
	p.mu.Lock()
	p.blocked = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) unblock() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = false
}

func testReconnect(t *testing.T, running *jupytertest.Server) {
	direct := await(t, running.Config)
	proxy, config := newProxy(t, running.Config)
	config.ReconnectTimeout = deadline
	kernel := start(t, await(t, config))

	t.Run("the cell runs on after a cut", func(t *testing.T) {
		cell := inBackground(within(t), kernel, `
import time
for i in range(200):
    print(i, flush=True)
    time.sleep(0.002)
"end"`)
		for range 3 {
			cell.first(t)
			proxy.cut()
		}
		result, err := cell.wait(t)
		require.NoError(t, err)
		assert.Equal(t, jupyter.StatusOK, result.Status)
		assert.True(t, result.Incomplete, "what was under way may be lost")
		assert.True(t, strings.HasSuffix(result.Text(), "199\n'end'"))
	})
	t.Run("the cell ends while there is no connection", func(t *testing.T) {
		cell := inBackground(within(t), kernel, waitForFile(t, "0\n1\n2"))
		cell.first(t)
		proxy.block()
		release(t, direct, kernel)
		proxy.unblock()
		result, err := cell.wait(t)
		require.NoError(t, err)
		assert.Equal(t, "go\n0\n1\n2\n'end'", result.Text())
	})
	t.Run("between cells", func(t *testing.T) {
		proxy.block()
		waitKernel(t, direct, func(k jupyter.KernelInfo) bool { return k.ID == kernel.ID() && k.Connections == 0 })
		cell := inBackground(within(t), kernel, "1+1")
		proxy.unblock()
		result, err := cell.wait(t)
		require.NoError(t, err)
		assert.Equal(t, "2", result.Text())
	})
	t.Run("nothing is kept while another client is connected", func(t *testing.T) {
		other, err := direct.Attach(within(t), kernel.ID())
		require.NoError(t, err)
		defer other.Close()
		cell := inBackground(within(t), kernel, waitForFile(t, "lost"))
		cell.first(t)
		proxy.block()
		release(t, direct, kernel)
		proxy.unblock()
		result, err := cell.wait(t)
		require.ErrorIs(t, err, jupyter.ErrOutputLost)
		assert.True(t, result.Incomplete)
		assert.Equal(t, "go\n", result.Text())
		assert.Equal(t, "2", run(t, kernel, "1+1"))
	})
	t.Run("an output larger than allowed", func(t *testing.T) {
		small := running.Config
		small.MaxMessageBytes = 1 << 20
		kernel := start(t, await(t, small))
		result, err := kernel.Execute(within(t), "import sys\nprint('a', flush=True)\nprint('b' * (2 << 20), flush=True)\nimport time\ntime.sleep(0.5)\nprint('c')", nil)
		require.NoError(t, err)
		assert.Regexp(t, `^a\nb+\n\[\.\.\. \d+ bytes of output left out \.\.\.\]\nb+\nc\n$`, result.Text())
		assert.Greater(t, result.Omitted, int64(0))
	})
	t.Run("a server that stays away", func(t *testing.T) {
		proxy, config := newProxy(t, running.Config)
		config.ReconnectTimeout = 100 * time.Millisecond
		kernel := start(t, await(t, config))
		cell := inBackground(within(t), kernel, "import time\nkept = 1\nprint('go', flush=True)\ntime.sleep(3600)")
		cell.first(t)
		proxy.block()
		_, err := cell.wait(t)
		require.ErrorIs(t, err, jupyter.ErrConnectionLost)
		waitDied(t, kernel)
		proxy.unblock()
		require.NoError(t, kernel.Restart(within(t)))
		assert.Equal(t, "False", run(t, kernel, "'kept' in globals()"))
	})
}

// waitForFile is a cell that prints "go", waits until the file "release" is
// there, prints text and has a result.
func waitForFile(t *testing.T, text string) string {
	t.Helper()
	return `
import os, time
print("go", flush=True)
while not os.path.exists("release"): time.sleep(0.01)
os.remove("release")
print("""` + text + `""", flush=True)
"end"`
}

// release lets the cell of waitForFile end and waits until it has.
func release(t *testing.T, server *jupyter.Server, kernel *jupyter.Kernel) {
	t.Helper()
	helper := start(t, server)
	run(t, helper, "open('release', 'w').close()")
	waitKernel(t, server, func(k jupyter.KernelInfo) bool { return k.ID == kernel.ID() && k.State == "idle" })
}

// waitKernel waits until the server says this of one of its kernels.
func waitKernel(t *testing.T, server *jupyter.Server, is func(jupyter.KernelInfo) bool) {
	t.Helper()
	for ctx := within(t); ; {
		kernels, err := server.Kernels(ctx)
		require.NoError(t, err)
		if slices.ContainsFunc(kernels, is) {
			return
		}
		pause(ctx, t)
	}
}

func pause(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		require.NoError(t, ctx.Err())
	}
}
