package jupyter_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

func testKernels(t *testing.T, server *jupyter.Server) {
	t.Run("eight at once", func(t *testing.T) {
		// Who asks for the server meanwhile is not told that it fails.
		started, asked := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(asked)
			for {
				select {
				case <-started:
					return
				default:
					assert.NoError(t, server.Check(within(t)))
				}
			}
		}()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				kernel, err := server.StartKernel(within(t), "", "")
				if !assert.NoError(t, err) {
					return
				}
				defer shutdown(t, kernel)
				run(t, kernel, fmt.Sprintf("mine = %d", i))
				assert.Equal(t, strconv.Itoa(i), run(t, kernel, "mine"))
			})
		}
		wg.Wait()
		close(started)
		<-asked
		kernels, err := server.Kernels(within(t))
		require.NoError(t, err)
		assert.Empty(t, kernels)
	})
	t.Run("an unknown spec", func(t *testing.T) {
		_, err := server.StartKernel(within(t), "cobol", "")
		require.ErrorContains(t, err, "cobol")
	})
	t.Run("two clients of one kernel", func(t *testing.T) {
		kernel := start(t, server)
		cell := inBackground(within(t), kernel, "import time\nshared = 7\nprint('go', flush=True)\nwhile True: time.sleep(0.1)")
		cell.first(t)
		other, err := server.Attach(within(t), kernel.ID())
		require.NoError(t, err, "a busy kernel can be attached to")
		defer other.Close()
		require.NoError(t, other.Interrupt(within(t)))
		_, err = cell.wait(t)
		require.ErrorContains(t, err, "KeyboardInterrupt")
		assert.Equal(t, "7", run(t, other, "shared"))

		var wg sync.WaitGroup
		for _, client := range []*jupyter.Kernel{kernel, other} {
			for range 10 {
				wg.Go(func() {
					_, err := client.Execute(within(t), "raise ValueError", nil)
					assert.ErrorContains(t, err, "ValueError", "a failure of one does not sweep the other's away")
				})
			}
		}
		wg.Wait()
	})
	t.Run("a closed kernel runs on", func(t *testing.T) {
		kernel, err := server.StartKernel(within(t), "", "")
		require.NoError(t, err)
		run(t, kernel, "kept = 5")
		cell := inBackground(within(t), kernel, "print('go', flush=True)\nwhile 'stop' not in globals(): pass")
		cell.first(t)
		kernel.Close()
		kernel.Close()
		_, err = cell.wait(t)
		require.ErrorIs(t, err, jupyter.ErrClosed)
		_, err = kernel.Execute(within(t), "1", nil)
		require.ErrorIs(t, err, jupyter.ErrClosed)
		require.ErrorIs(t, kernel.Restart(within(t)), jupyter.ErrClosed)

		again, err := server.Attach(within(t), kernel.ID())
		require.NoError(t, err)
		defer shutdown(t, again)
		require.NoError(t, again.Interrupt(within(t)))
		assert.Equal(t, "5", run(t, again, "kept"))
	})
}

func testSessions(t *testing.T, server *jupyter.Server) {
	ctx := within(t)
	kernel, err := server.OpenNotebook(ctx, "work/analysis.ipynb", "")
	require.NoError(t, err)
	run(t, kernel, "x = 3")

	sessions, err := server.Sessions(ctx)
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	assert.Equal(t, "work/analysis.ipynb", sessions[0].Path)
	assert.Equal(t, "notebook", sessions[0].Type)
	assert.Equal(t, kernel.ID(), sessions[0].Kernel.ID)

	person, err := server.OpenNotebook(ctx, "work/analysis.ipynb", "")
	require.NoError(t, err)
	defer person.Close()
	assert.Equal(t, kernel.ID(), person.ID())
	assert.Equal(t, "3", run(t, person, "x"))

	shutdown(t, kernel)
	sessions, err = server.Sessions(ctx)
	require.NoError(t, err)
	assert.Empty(t, sessions)
	waitDied(t, person)
	require.ErrorIs(t, person.Err(), jupyter.ErrKernelDied)

	require.NoError(t, person.Restart(ctx), "the notebook gets another kernel")
	assert.NotEqual(t, kernel.ID(), person.ID())
	assert.Equal(t, "False", run(t, person, "'x' in globals()"))
	shutdown(t, person)
}

func testRestart(t *testing.T, server *jupyter.Server) {
	kernel := start(t, server)
	person, err := server.Attach(within(t), kernel.ID())
	require.NoError(t, err)
	defer person.Close()

	for name, restarter := range map[string]*jupyter.Kernel{"by us": kernel, "by another client": person} {
		t.Run(name, func(t *testing.T) {
			run(t, kernel, "x = 1")
			running := inBackground(within(t), kernel, "import time\nprint('go', flush=True)\ntime.sleep(3600)")
			running.first(t)
			require.NoError(t, restarter.Restart(within(t)))
			result, err := running.wait(t)
			require.ErrorIs(t, err, jupyter.ErrKernelRestarted)
			assert.Equal(t, "go\n", result.Text())
			assert.Equal(t, "False", run(t, restarter, "'x' in globals()"))
			assert.Equal(t, "2", run(t, kernel, "1+1"))
			require.NoError(t, kernel.Err())
		})
	}
	t.Run("cells that wait", func(t *testing.T) {
		running := inBackground(within(t), kernel, "import time\nprint('go', flush=True)\ntime.sleep(3600)")
		running.first(t)
		var waiting []*background
		for range 4 {
			waiting = append(waiting, inBackground(within(t), kernel, "1"))
		}
		require.NoError(t, kernel.Restart(within(t)))
		_, err := running.wait(t)
		require.ErrorIs(t, err, jupyter.ErrKernelRestarted)
		for _, w := range waiting {
			// Those whose goroutine came late belong to the new process.
			if _, err := w.wait(t); err != nil {
				require.ErrorIs(t, err, jupyter.ErrKernelRestarted)
			}
		}
	})
}

func waitDied(t *testing.T, kernel *jupyter.Kernel) {
	t.Helper()
	select {
	case <-kernel.Died():
	case <-time.After(deadline):
		require.Fail(t, "the death of the kernel was not noticed")
	}
}

func testDeath(t *testing.T, server *jupyter.Server) {
	kernel := start(t, server)
	process := func(t *testing.T) *os.Process {
		pid, err := strconv.Atoi(strings.TrimSpace(run(t, kernel, "import os\nos.getpid()")))
		require.NoError(t, err)
		process, err := os.FindProcess(pid)
		require.NoError(t, err)
		return process
	}
	comeBack := func(t *testing.T) {
		_, err := kernel.Execute(within(t), "1", nil)
		require.ErrorIs(t, err, jupyter.ErrKernelDied, "nothing runs in a process without the variables")
		require.NoError(t, kernel.Restart(within(t)))
		require.NoError(t, kernel.Err())
		assert.Equal(t, "2", run(t, kernel, "1+1"))
	}
	t.Run("killed during a cell", func(t *testing.T) {
		victim := process(t)
		cell := inBackground(within(t), kernel, "import time\nprint('go', flush=True)\ntime.sleep(3600)")
		cell.first(t)
		require.NoError(t, victim.Kill())
		result, err := cell.wait(t)
		require.ErrorIs(t, err, jupyter.ErrKernelDied)
		assert.Equal(t, "go\n", result.Text())
		comeBack(t)
	})
	t.Run("killed between cells", func(t *testing.T) {
		require.NoError(t, process(t).Kill())
		waitDied(t, kernel)
		comeBack(t)
	})
	t.Run("by its own hand", func(t *testing.T) {
		_, err := kernel.Execute(within(t), "import os\nos._exit(3)", nil)
		require.ErrorIs(t, err, jupyter.ErrKernelDied)
		comeBack(t)
	})
}
