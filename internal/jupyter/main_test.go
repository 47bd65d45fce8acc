package jupyter_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what should be quick.
const deadline = 60 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// connect starts a server and connects to it.
func connect(t *testing.T, extra ...string) (*jupyter.Server, *jupytertest.Server) {
	t.Helper()
	running := jupytertest.Start(t, extra...)
	server, err := jupyter.Connect(within(t), running.Config)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server, running
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
