package jupyter_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
)

func testExecute(t *testing.T, server *jupyter.Server) {
	kernel := start(t, server)

	t.Run("streams and result in order", func(t *testing.T) {
		result, err := kernel.Execute(within(t), `
import sys
print("one", flush=True)
print("two", file=sys.stderr, flush=True)
print("three")
{"a": 4}`, nil)
		require.NoError(t, err)
		require.Equal(t, "one\ntwo\nthree\n{'a': 4}", result.Text())
		require.Len(t, result.Outputs, 4)
		assert.Equal(t, jupyter.Output{Type: jupyter.OutputStream, Name: jupyter.Stderr, Text: "two\n"}, result.Outputs[1])
		assert.Equal(t, jupyter.OutputResult, result.Outputs[3].Type)
		assert.Equal(t, result.ExecutionCount, result.Outputs[3].ExecutionCount)
		assert.Positive(t, result.ExecutionCount)
	})

	t.Run("outputs arrive while the cell runs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t))
		cell := inBackground(ctx, kernel, "import time\nprint('early', flush=True)\ntime.sleep(3600)")
		assert.Equal(t, "early\n", cell.first(t))
		cancel()
		_, err := cell.wait(t)
		require.ErrorIs(t, err, context.Canceled)
	})

	t.Run("an exception", func(t *testing.T) {
		result, err := kernel.Execute(within(t), "print('before')\n1/0", nil)
		var exception *jupyter.KernelError
		require.ErrorAs(t, err, &exception)
		assert.Equal(t, "ZeroDivisionError", exception.Name)
		assert.Equal(t, "division by zero", exception.Value)
		assert.Equal(t, jupyter.StatusError, result.Status)
		assert.Contains(t, result.Text(), "before\n")
		assert.Contains(t, result.Text(), "----> 2 1/0")
		assert.NotContains(t, result.Text(), "\x1b")
	})

	t.Run("a syntax error", func(t *testing.T) {
		_, err := kernel.Execute(within(t), "1 +", nil)
		var exception *jupyter.KernelError
		require.ErrorAs(t, err, &exception)
		assert.Equal(t, "SyntaxError", exception.Name)
	})

	t.Run("input fails at once", func(t *testing.T) {
		_, err := kernel.Execute(within(t), "input('name? ')", nil)
		var exception *jupyter.KernelError
		require.ErrorAs(t, err, &exception)
		assert.Equal(t, "StdinNotImplementedError", exception.Name)
	})

	t.Run("a display is updated", func(t *testing.T) {
		result, err := kernel.Execute(within(t), `
from IPython.display import display
handle = display("first", display_id=True)
print("between")
handle.update("second")`, nil)
		require.NoError(t, err)
		require.Len(t, result.Outputs, 2)
		assert.Equal(t, "'second'\nbetween\n", result.Text())
		assert.NotEmpty(t, result.Outputs[0].DisplayID)
	})

	t.Run("clear_output", func(t *testing.T) {
		const code = `
from IPython.display import clear_output
for i in range(3):
    clear_output(wait=%s)
    print(i)`
		assert.Equal(t, "2\n", run(t, kernel, fmt.Sprintf(code, "True")))
		assert.Equal(t, "2\n", run(t, kernel, fmt.Sprintf(code, "False")))
		assert.Equal(t, "kept\n", run(t, kernel, "print('kept')\nclear_output(wait=True)"))
	})

	t.Run("images and other forms", func(t *testing.T) {
		result, err := kernel.Execute(within(t), `
import struct, zlib
from IPython.display import Image, SVG, HTML, JSON, display
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0)) \
    + chunk(b"IDAT", zlib.compress(b"\0\0\xff")) + chunk(b"IEND", b"")
display(Image(png), SVG("<svg xmlns='http://www.w3.org/2000/svg'/>"), HTML("<b>x</b>"), JSON({"k": [1]}))`, nil)
		require.NoError(t, err)
		require.Len(t, result.Outputs, 4)
		images := result.Images()
		require.Len(t, images, 2)
		picture, err := png.Decode(bytes.NewReader(images[0].Data))
		require.NoError(t, err)
		assert.Equal(t, 2, picture.Bounds().Dx())
		assert.Equal(t, "image/svg+xml", images[1].MIME)
		assert.Contains(t, string(images[1].Data), "<svg")
		html, ok := result.Outputs[2].Data.Text("text/html")
		assert.True(t, ok)
		assert.Equal(t, "<b>x</b>", html)
		assert.JSONEq(t, `{"k": [1]}`, string(result.Outputs[3].Data["application/json"]))
	})

	t.Run("a progress bar", func(t *testing.T) {
		assert.Equal(t, "100%|#####|\ndone\n", run(t, kernel, `
import sys
for i in range(0, 101, 10):
    sys.stderr.write(f"\r{i:3d}%|" + "#" * (i // 20) + "|")
    sys.stderr.flush()
print("\ndone")`))
	})

	t.Run("silent and uncounted cells", func(t *testing.T) {
		before, err := kernel.Execute(within(t), "'visible'", nil)
		require.NoError(t, err)
		silent, err := kernel.Execute(within(t), "hidden = 'secret'\nprint('shown')\n'not shown'", &jupyter.ExecuteOptions{Silent: true})
		require.NoError(t, err)
		assert.Equal(t, "shown\n", silent.Text())
		assert.Zero(t, silent.ExecutionCount)
		uncounted, err := kernel.Execute(within(t), "'forgotten'", &jupyter.ExecuteOptions{NoHistory: true})
		require.NoError(t, err)
		assert.Equal(t, "'forgotten'", uncounted.Text())
		after, err := kernel.Execute(within(t), "hidden, any('hidden =' in c or 'forgotten' in c for c in In[:-1])", nil)
		require.NoError(t, err)
		assert.Equal(t, before.ExecutionCount+1, after.ExecutionCount)
		assert.Equal(t, "('secret', False)", after.Text())
		_, err = kernel.Execute(within(t), "raise ValueError('x')", &jupyter.ExecuteOptions{Silent: true})
		var exception *jupyter.KernelError
		require.ErrorAs(t, err, &exception)
		assert.Equal(t, "ValueError: x", exception.Error())
	})

	t.Run("late outputs", func(t *testing.T) {
		late := make(chan string, 100)
		_, err := kernel.Execute(within(t), `
import threading, time
def later():
    time.sleep(0.2)
    print("late", flush=True)
threading.Thread(target=later).start()`, &jupyter.ExecuteOptions{
			OnLate: func(o jupyter.Output) { late <- o.Text },
		})
		require.NoError(t, err)
		select {
		case text := <-late:
			assert.Contains(t, "late\n", text)
		case <-time.After(deadline):
			require.Fail(t, "the late output did not come")
		}
	})

	t.Run("many chunks", func(t *testing.T) {
		count := 2_000
		if longtest.Wanted() {
			count = 10_000
		}
		// The kernel throws away what its server does not fetch in time, more
		// than a thousand messages or so: it waits here until they have come.
		const atOnce = 500
		seen, chunks, came := t.TempDir(), 0, 0
		result, err := kernel.Execute(within(t), fmt.Sprintf(`
import os, time
for i in range(%d):
    print(i, flush=True)
    while i %% %d == 0 and not os.path.exists(f"%s/{i}"): time.sleep(0.001)`, count, atOnce, seen),
			&jupyter.ExecuteOptions{OnOutput: func(o jupyter.Output) {
				chunks++
				for range strings.Count(o.Text, "\n") {
					if came%atOnce == 0 {
						assert.NoError(t, os.WriteFile(filepath.Join(seen, strconv.Itoa(came)), nil, 0o600))
					}
					came++
				}
			}})
		require.NoError(t, err)
		require.False(t, result.Incomplete)
		require.Len(t, result.Outputs, 1)
		lines := strings.Split(strings.TrimSuffix(result.Text(), "\n"), "\n")
		require.Len(t, lines, count)
		assert.Equal(t, strconv.Itoa(count-1), lines[count-1])
		t.Logf("%d chunks arrived", chunks)
	})

	t.Run("much at once", func(t *testing.T) {
		const size = 12 << 20 // as much as is kept
		result, err := kernel.Execute(within(t), fmt.Sprintf("print('x' * %d)", size), nil)
		require.NoError(t, err)
		require.False(t, result.Incomplete)
		require.Len(t, result.Outputs[0].Text, size+1)
		result, err = kernel.Execute(within(t), fmt.Sprintf("HTML('y' * %d)", size), nil)
		require.NoError(t, err)
		html, _ := result.Outputs[0].Data.Text("text/html")
		require.Len(t, html, size)
	})

	t.Run("cells of many goroutines run one at a time", func(t *testing.T) {
		run(t, kernel, "inside = 0\nlog = []")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				assert.Empty(t, run(t, kernel, fmt.Sprintf(
					"inside += 1; assert inside == 1; log.append(%d); inside -= 1", i)))
			})
		}
		wg.Wait()
		assert.Equal(t, "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]", run(t, kernel, "sorted(log)"))
	})

	t.Run("a turn is waited for no longer than ctx", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t))
		cell := inBackground(ctx, kernel, "import time\nprint('go', flush=True)\ntime.sleep(3600)")
		cell.first(t)
		short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer stop()
		result, err := kernel.Execute(short, "never = True", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Nil(t, result)
		cancel()
		_, err = cell.wait(t)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, "False", run(t, kernel, "'never' in globals()"))
	})
}

// TestLegacyServer runs a server that knows only the JSON form of the messages
// and keeps its limit on fast output.
func TestLegacyServer(t *testing.T) {
	running := jupytertest.Start(t,
		"--ZMQChannelsWebsocketConnection.kernel_ws_protocol=",
		"--ZMQChannelsWebsocketConnection.limit_rate=True",
	)
	kernel := start(t, await(t, running.Config))
	require.Equal(t, "ä\n42", run(t, kernel, "print('ä')\n42"))

	t.Run("a message with buffers", func(t *testing.T) {
		assert.Equal(t, "sent\n", run(t, kernel, `
from comm import create_comm
create_comm(target_name="t", data={"a": 1}, buffers=[b"123", b"45"])
print("sent")`))
	})
	t.Run("what the server drops is told", func(t *testing.T) {
		result, err := kernel.Execute(within(t), "print('x' * 10_000_000)", nil)
		require.NoError(t, err)
		assert.True(t, result.Incomplete)
		assert.Contains(t, result.Text(), "rate exceeded")
	})
}
