package jupyter_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

func testInterrupt(t *testing.T, running *jupytertest.Server) {
	config := running.Config
	config.InterruptGrace = deadline
	kernel := start(t, await(t, config))

	for name, code := range map[string]string{
		// Not one sleep: Python may miss an interrupt as that begins.
		"sleep":     "import time\nprint('go', flush=True)\nwhile True: time.sleep(0.1)",
		"busy loop": "print('go', flush=True)\nwhile True: pass",
		"await":     "import asyncio\nprint('go', flush=True)\nawait asyncio.sleep(3600)",
	} {
		t.Run("ctx ends during "+name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(within(t))
			cell := inBackground(ctx, kernel, code)
			cell.first(t)
			cancel()
			result, err := cell.wait(t)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, jupyter.ErrStillRunning)
			require.NotEmpty(t, result.Outputs)
			assert.Equal(t, "go\n", result.Outputs[0].Text)
			assert.Equal(t, "2", run(t, kernel, "1+1"))
		})
		t.Run("Interrupt during "+name, func(t *testing.T) {
			cell := inBackground(within(t), kernel, code)
			cell.first(t)
			require.NoError(t, kernel.Interrupt(within(t)))
			_, err := cell.wait(t)
			var exception *jupyter.KernelError
			require.ErrorAs(t, err, &exception)
			assert.Contains(t, []string{"KeyboardInterrupt", "CancelledError"}, exception.Name)
		})
	}

	t.Run("ctx has ended before the cell began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t))
		cancel()
		_, err := kernel.Execute(ctx, "import time\ntime.sleep(3600)", nil)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, "2", run(t, kernel, "1+1"))
	})

	t.Run("an interrupt that IPython swallows before the cell", func(t *testing.T) {
		run(t, kernel, "import time\nslow = lambda info: time.sleep(0.5)\nget_ipython().events.register('pre_run_cell', slow)")
		ctx, cancel := context.WithCancel(within(t))
		cancel()
		for sent := false; !sent; { // it may give up before
			result, err := kernel.Execute(ctx, "time.sleep(3600)", nil)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, jupyter.ErrStillRunning)
			sent = result != nil
		}
		run(t, kernel, "get_ipython().events.unregister('pre_run_cell', slow)")
	})

	t.Run("ctx ends during a silent cell", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(within(t), 100*time.Millisecond)
		defer cancel()
		_, err := kernel.Execute(ctx, "import time\ntime.sleep(3600)", &jupyter.ExecuteOptions{Silent: true})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, "2", run(t, kernel, "1+1"))
	})

	t.Run("a cell that does not obey", func(t *testing.T) {
		config.InterruptGrace = 500 * time.Millisecond
		kernel, err := await(t, config).Attach(within(t), kernel.ID())
		require.NoError(t, err)
		defer kernel.Close()
		ctx, cancel := context.WithCancel(within(t))
		cell := inBackground(ctx, kernel, `
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
end = time.monotonic() + 3
print("go", flush=True)
time.sleep(3)`)
		cell.first(t)
		cancel()
		result, err := cell.wait(t)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, jupyter.ErrStillRunning)
		assert.Equal(t, jupyter.StatusUnknown, result.Status)
		assert.Equal(t, "True", run(t, kernel, "time.monotonic() >= end"), "the next cell waits")
	})
}
