package seer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// forge writes what the protocol has, and what it has not, to every descriptor
// of the interpreter and, through /proc, to every pipe of its process.
const forge = `
import os, json
says = [b'{"event":"ready","pid":1}\n', b'{"event":"ready","pid":2}\n', b'{"event":"started"}\n', b'{"event":"done"}\n', b'{"event":"done","id":""}\n',
	b'{"event":"stream","text":7}\n', b'{"event":"result","data":[1,2]}\n', b'{"event":"error","traceback":{}}\n', b'[' * 50_000 + b'\n', b'{"event":' * 50_000 + b'\n',
	b'{"event":"stream","name":"stdout","text":"' + b'y' * 3_000_000 + b'"}\n', b'\x00\xff\n', b'{"event":"omitted","bytes":-1}\n', b'no newline at the end']
for name in os.listdir('/proc/self/fd'):
	for path in (int(name), '/proc/self/fd/' + name):
		try:
			fd = path if isinstance(path, int) else os.open(path, os.O_WRONLY | os.O_NONBLOCK)
			if 'pipe' not in os.readlink('/proc/self/fd/' + name): continue
			for what in says: os.write(fd, what)
		except OSError: pass
`

func TestForgedEventsChangeNothing(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, &seer.LocalOptions{OutputLimit: 1 << 20})
	for range 3 {
		_, err := session.Exec(within(t, patience), forge)
		if err != nil {
			require.ErrorIs(t, err, seer.ErrKernelDied)
			require.NoError(t, session.Restart(within(t, patience)))
		}
	}
	assert.Equal(t, "42", textOf(t, session, "6 * 7"), "the next code gets its own answer")
}

// TestOutputIsBounded prints more than anybody keeps, in each way that there is.
func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	session := startLocal(t, nil, &seer.LocalOptions{OutputLimit: limit})
	for name, code := range map[string]string{
		"lines":      "for i in range(40_000): print(i, 'x' * 100)",
		"at once":    "print('x' * 40_000_000)",
		"bytes":      "import sys\nfor i in range(400): sys.stdout.buffer.write(b'x' * 100_000)",
		"a program":  "import os\nos.system('yes | head -c 40000000')",
		"two names":  "import sys\nfor i in range(40_000): print('x' * 100, file=(sys.stdout, sys.stderr)[i % 2])",
		"displays":   "for i in range(400): display('x' * 100_000)",
		"one result": "display('x' * 40_000_000)",
		"no lines":   "import os\nfor i in range(400): os.write(1, b'x' * 100_000)",
	} {
		result, err := session.Exec(within(t, patience), "print('the beginning')\n"+code+"\nprint('the end')")
		require.NoError(t, err, name)
		text := result.Text()
		assert.True(t, strings.HasPrefix(text, "the beginning\n"), name)
		assert.Contains(t, text[max(0, len(text)-limit/2):], "the end\n", name)
		assert.Contains(t, text, "bytes of output left out ...]", name)
		assert.Less(t, len(text), limit+10_000, name)
		assert.Greater(t, result.Omitted, int64(500_000), name)
	}
	result, err := session.Exec(within(t, patience), "print('x' * 600_000)\nprint('y' * 400_000)\n'last'")
	require.NoError(t, err)
	assert.Zero(t, result.Omitted)
	assert.Len(t, result.Text(), 1_000_000+len("\n\n'last'"), "what fits is whole")

	result, err = session.Exec(within(t, patience), "print('x' * 40_000_000)\n1 / 0")
	require.ErrorContains(t, err, "ZeroDivisionError")
	assert.Contains(t, result.Text(), "left out")
}

// TestAFloodEndsWithItsContext prints for ever.
func TestAFloodEndsWithItsContext(t *testing.T) {
	t.Parallel()
	session := startLocal(t, nil, nil)
	for _, code := range []string{
		"while True: print('x' * 1000)",
		"import os\nos.system('yes')",
		"while True: display('x' * 1000)",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		result, err := session.Exec(ctx, "print('the beginning')\n"+code)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, strings.HasPrefix(result.Text(), "the beginning\n"))
		if code != "import os\nos.system('yes')" { // the shell takes the interrupt for itself
			assert.Contains(t, result.Text(), "KeyboardInterrupt", "the end is there")
		}
		require.NotErrorIs(t, err, seer.ErrKernelDied)
	}
	assert.Equal(t, "2", textOf(t, session, "1 + 1"))
}

// TestHostileInterpretersEnd does everything that might keep a session from
// coming to an end.
func TestHostileInterpretersEnd(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]string{
		"it floods past its own limit": `
import os, threading
for name in os.listdir('/proc/self/fd'):
	def flood(fd):
		while True: os.write(fd, b'{"event":"stream","name":"stdout","text":"' + b'y' * 60_000 + b'"}\n')
	if 'pipe' in os.readlink('/proc/self/fd/' + name): threading.Thread(target=flood, args=(int(name),), daemon=True).start()
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(600)`,
		"it closes what it is driven by": "import os\nos.closerange(3, 1 << 20)",
		"it leaves its group":            "import os, subprocess\np = subprocess.Popen(['sleep', '600'], preexec_fn=os.setpgrp)\nos.setpgid(0, p.pid) if os.getsid(0) != os.getpid() else None\nimport time\ntime.sleep(600)",
		"it stops":                       "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
		"it never ends a line":           "import os\nfor name in os.listdir('/proc/self/fd'):\n\ttry: os.write(int(name), b'x' * 5_000_000)\n\texcept OSError: pass",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session, err := seer.NewLocalSession(t.Context(), nil, t.TempDir(), &seer.LocalOptions{OutputLimit: 1 << 20})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = session.Exec(ctx, code)
			cancel()
			if name != "it never ends a line" {
				require.Error(t, err)
			}
			big, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = session.Exec(big, "#"+strings.Repeat("x", 10<<20))
			cancel()
			require.NoError(t, session.Close(context.Background()))
		})
	}
}
