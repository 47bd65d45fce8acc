package jupyter_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServer holds what shares one server, since a server takes seconds to
// start.
func TestServer(t *testing.T) {
	running := jupytertest.Start(t)
	server := await(t, running.Config)
	// These count the server's kernels.
	t.Run("given up starts", func(t *testing.T) { testGivenUpStarts(t, running) })
	t.Run("kernels", func(t *testing.T) { testKernels(t, server) })
	t.Run("sessions", func(t *testing.T) { testSessions(t, server) })
	beside := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	beside("identity", func(t *testing.T) { testIdentity(t, running) })
	beside("execute", func(t *testing.T) { testExecute(t, server) })
	beside("interrupt", func(t *testing.T) { testInterrupt(t, running) })
	beside("restart", func(t *testing.T) { testRestart(t, server) })
	beside("death", func(t *testing.T) { testDeath(t, server) })
	beside("reconnect", func(t *testing.T) { testReconnect(t, running) })
	beside("notebook", func(t *testing.T) { testNotebookFile(t, server) })
}

// deadline is how long a test waits for what should be quick.
const deadline = 60 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func await(t *testing.T, config jupyter.Config) *jupyter.Server {
	t.Helper()
	server, err := jupyter.Await(within(t), config)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

// start starts a kernel that ends with the test.
func start(t *testing.T, server *jupyter.Server) *jupyter.Kernel {
	t.Helper()
	kernel, err := server.StartKernel(within(t), "", "")
	require.NoError(t, err)
	t.Cleanup(func() { shutdown(t, kernel) })
	return kernel
}

// shutdown outlives the test's context, which has ended when cleanups run.
func shutdown(t *testing.T, kernel *jupyter.Kernel) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), deadline)
	defer cancel()
	require.NoError(t, kernel.Shutdown(ctx))
}

// run executes a cell that succeeds and returns its text.
func run(t *testing.T, kernel *jupyter.Kernel, code string) string {
	t.Helper()
	result, err := kernel.Execute(within(t), code, nil)
	require.NoError(t, err)
	require.Equal(t, jupyter.StatusOK, result.Status)
	require.False(t, result.Incomplete)
	return result.Text()
}

// background is a cell that runs while the test does something else.
type background struct {
	printed chan string // what it printed, chunk by chunk
	ended   chan struct{}
	result  *jupyter.Result
	err     error
}

func inBackground(ctx context.Context, kernel *jupyter.Kernel, code string) *background {
	const plenty = 1 << 16
	b := &background{printed: make(chan string, plenty), ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		b.result, b.err = kernel.Execute(ctx, code, &jupyter.ExecuteOptions{
			OnOutput: func(o jupyter.Output) { b.printed <- o.Text },
		})
	}()
	return b
}

// first waits for the first line that the cell prints, which the kernel may
// send in pieces.
func (b *background) first(t *testing.T) string {
	t.Helper()
	timeout := time.After(deadline)
	for line := ""; ; {
		select {
		case text := <-b.printed:
			if line += text; strings.Contains(line, "\n") {
				return line
			}
		case <-b.ended:
			require.NoError(t, b.err)
			require.Fail(t, "the cell ended and printed nothing")
		case <-timeout:
			require.Fail(t, "the cell printed nothing")
		}
	}
}

// wait waits for the end of the cell.
func (b *background) wait(t *testing.T) (*jupyter.Result, error) {
	t.Helper()
	select {
	case <-b.ended:
	case <-time.After(deadline):
		require.Fail(t, "the cell did not end")
	}
	return b.result, b.err
}
