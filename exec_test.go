package seer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestExec(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{Env: map[string]string{"COLOUR": "blue"}})

	t.Run("returns stdout", func(t *testing.T) {
		out, err := sandbox.Exec(t.Context(), `echo "$COLOUR"; echo noise >&2`)
		require.NoError(t, err)
		assert.Equal(t, "blue\n", out)
	})

	t.Run("is bash", func(t *testing.T) {
		out, err := sandbox.Exec(t.Context(), `a=(1 2 3); echo ${#a[@]}; [[ x == x ]] && printf done`)
		require.NoError(t, err)
		assert.Equal(t, "3\ndone", out)
	})

	t.Run("keeps code and both outputs of a failure", func(t *testing.T) { // D19
		out, err := sandbox.Exec(t.Context(), "echo half; echo broken >&2; exit 3")
		var exit *seer.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 3, exit.Code)
		assert.Zero(t, exit.Signal)
		assert.Equal(t, "half\n", exit.Stdout)
		assert.Equal(t, "broken\n", exit.Stderr)
		assert.Equal(t, "half\n", out)
		assert.ErrorContains(t, err, "exit status 3")
		assert.ErrorContains(t, err, "broken")
	})

	t.Run("keeps the signal", func(t *testing.T) {
		_, err := sandbox.Exec(t.Context(), "kill -SEGV $$")
		var exit *seer.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 11, exit.Signal)
	})

	t.Run("reads an empty stdin", func(t *testing.T) {
		out, err := sandbox.Exec(within(t, patience), "cat; echo end")
		require.NoError(t, err)
		assert.Equal(t, "end\n", out)
	})

	t.Run("takes commands of any length", func(t *testing.T) { // D21
		long := strings.Repeat("x", 300<<10)
		out, err := sandbox.Exec(t.Context(), "printf '%s' '"+long+"' | wc -c; cat | wc -c")
		require.NoError(t, err)
		assert.Equal(t, []string{strconv.Itoa(len(long)), "0"}, strings.Fields(out))
	})

	t.Run("refuses what bash would drop", func(t *testing.T) {
		for _, command := range []string{"echo a\x00b", strings.Repeat(" ", 200<<10) + "echo a\x00b"} {
			_, err := sandbox.Exec(t.Context(), command)
			assert.ErrorContains(t, err, "NUL byte")
		}
	})

	t.Run("outlives what it leaves in the background", func(t *testing.T) {
		out, err := sandbox.Exec(within(t, patience), "sleep 1000 & echo started")
		require.NoError(t, err)
		assert.Equal(t, "started\n", out)
	})

	t.Run("names a program that is not there", func(t *testing.T) {
		err := sandbox.Command("no-such-program").Run(t.Context())
		var exit *seer.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 127, exit.Code)
		assert.ErrorContains(t, err, "no-such-program")
	})
}

func TestExecPython(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})

	out, err := sandbox.ExecPython(t.Context(), "import sys\nprint('π', sys.version_info[0], sys.stdin.read() == '')")
	require.NoError(t, err)
	assert.Equal(t, "π 3 True\n", out)

	_, err = sandbox.ExecPython(t.Context(), "1/0")
	var exit *seer.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 1, exit.Code)
	assert.Contains(t, exit.Stderr, "ZeroDivisionError")

	long := "text = '" + strings.Repeat("y", 200<<10) + "'\nprint(len(text), __name__)"
	out, err = sandbox.ExecPython(t.Context(), long)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintln(200<<10, "__main__"), out)
}

func TestCommand(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})

	t.Run("streams both ways", func(t *testing.T) {
		stdin, feed := io.Pipe()
		read, stdout := io.Pipe()
		cmd := sandbox.Command("python", "-u", "-c", "import sys\nfor line in sys.stdin: print(line.strip().upper())")
		cmd.Stdin, cmd.Stdout = stdin, stdout
		require.NoError(t, cmd.Start(within(t, patience)))
		lines := make([]byte, 4)
		for _, word := range []string{"one\n", "two\n"} { // each answer comes before the next question
			_, err := io.WriteString(feed, word)
			require.NoError(t, err)
			_, err = io.ReadFull(read, lines)
			require.NoError(t, err)
			assert.Equal(t, strings.ToUpper(word), string(lines))
		}
		require.NoError(t, feed.Close())
		go io.Copy(io.Discard, read) //nolint:errcheck // a pipe of this test
		require.NoError(t, cmd.Wait())
		require.NoError(t, stdout.Close())
	})

	t.Run("passes arguments, directory and environment untouched", func(t *testing.T) {
		odd := []string{"", " ", "$HOME", "'", `"`, "a\nb", "--", "-n", "ü", "*", "`id`", "\\"}
		cmd := sandbox.Command("python", append([]string{"-c", "import os,sys; print(repr((sys.argv[1:], os.getcwd(), os.environ['ODD'])))"}, odd...)...)
		cmd.Dir = "/usr/lib"
		cmd.Env = []string{"ODD=it's \"odd\"\n$x"}
		out, err := cmd.Output(t.Context())
		require.NoError(t, err)
		assert.Equal(t, `(['', ' ', '$HOME', "'", '"', 'a\nb', '--', '-n', 'ü', '*', '`+"`id`"+`', '\\'], '/usr/lib', 'it\'s "odd"\n$x')`+"\n", string(out))
	})

	t.Run("combines both outputs", func(t *testing.T) {
		out, err := sandbox.Command("bash", "-c", "echo 1; echo 2 >&2; echo 3").CombinedOutput(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"1", "2", "3"}, strings.Fields(string(out)))
	})

	t.Run("is byte-exact for 100 MB in and out", func(t *testing.T) {
		const size = 100 << 20
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 2654435761 >> 13)
		}
		cmd := sandbox.Command("cat")
		cmd.Stdin = bytes.NewReader(data)
		sum := sha256.New()
		cmd.Stdout = sum
		require.NoError(t, cmd.Run(within(t, 5*time.Minute)))
		want := sha256.Sum256(data)
		assert.Equal(t, hex.EncodeToString(want[:]), hex.EncodeToString(sum.Sum(nil)))
	})

	t.Run("gives a terminal when asked", func(t *testing.T) {
		cmd := sandbox.Command("bash", "-c", "tty >/dev/null && stty size")
		cmd.PTY = true
		out, err := cmd.Output(within(t, patience))
		require.NoError(t, err)
		assert.Equal(t, "24 80\r\n", string(out))
	})

	t.Run("runs 64 at once", func(t *testing.T) {
		var group sync.WaitGroup
		for i := range 64 {
			group.Go(func() {
				out, err := sandbox.Exec(t.Context(), "sleep 0.2; echo "+strconv.Itoa(i))
				assert.NoError(t, err)
				assert.Equal(t, strconv.Itoa(i)+"\n", out)
			})
		}
		group.Wait()
	})

	t.Run("says what is wrong with its use", func(t *testing.T) {
		assert.ErrorContains(t, sandbox.Command("").Run(t.Context()), "no program")
		cmd := sandbox.Command("true")
		cmd.Env = []string{"NOVALUE"}
		assert.ErrorContains(t, cmd.Run(t.Context()), "NOVALUE")
		assert.Error(t, sandbox.Command("true").Wait())
	})
}

// slowWriter takes its first bytes late.
type slowWriter struct {
	bytes.Buffer
	late time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	<-time.After(w.late)
	w.late = 0
	return w.Buffer.Write(p)
}

// What a background process holds open is given up after a silence. Output that
// is merely late is none.
func TestLateOutputIsNotLost(t *testing.T) {
	t.Parallel()
	const late, size = 3 * time.Second, 64 << 20 // more than the connection holds
	server := seertest.NewServer(t)
	sandbox := startOn(t, server, seer.SandboxConfig{})

	t.Run("for a slow reader", func(t *testing.T) {
		out := &slowWriter{late: late}
		cmd := sandbox.Command("head", "-c", strconv.Itoa(size), "/dev/zero")
		cmd.Stdout = out
		require.NoError(t, cmd.Run(within(t, patience)))
		assert.Equal(t, size, out.Len())
	})

	t.Run("of a slow connection", func(t *testing.T) {
		server.Delay("TaskExecStdioRead", late)
		out, err := sandbox.Exec(within(t, patience), "sleep 1000 & echo late")
		require.NoError(t, err)
		assert.Equal(t, "late\n", out)
	})
}

// processes counts the sandbox's processes whose command line holds a mark.
func processes(t *testing.T, sandbox *seer.Sandbox, mark string) int {
	t.Helper()
	cmd := sandbox.Command("bash", "-c", `grep -lsaF -f - /proc/[0-9]*/cmdline | wc -l`)
	cmd.Stdin = strings.NewReader(mark)
	out, err := cmd.Output(t.Context())
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return n
}

func TestCancelKillsEverythingTheCommandStarted(t *testing.T) { // D20
	sandbox := startSandbox(t, seer.SandboxConfig{})
	const mark = "86399.25" // an odd number of seconds, to know the sleeps by
	const tree = `sleep 86399.25 & (setsid sleep 86399.25 &) ; (nohup sh -c "sleep 86399.25; :" >/dev/null 2>&1 &)` +
		`; (env -i setsid sleep 86399.25 &); setpriv --reuid 65534 --regid 65534 --clear-groups env -i setsid sh -c "sleep 86399.25 & :" & echo up; sleep 86399.25`

	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		_, err := sandbox.Exec(ctx, tree)
		var timeout *seer.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, processes(t, sandbox, mark))
	})

	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		read, stdout := io.Pipe()
		cmd := sandbox.Command("bash", "-c", tree)
		cmd.Stdout = stdout
		require.NoError(t, cmd.Start(ctx))
		_, err := io.ReadFull(read, make([]byte, 3)) // "up"
		require.NoError(t, err)
		go io.Copy(io.Discard, read) //nolint:errcheck // a pipe of this test
		cancel()
		err = cmd.Wait()
		require.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, processes(t, sandbox, mark))
		require.NoError(t, stdout.Close())
	})

	t.Run("deadline after the command's own end", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // by when the command itself has ended
		defer cancel()
		_, err := sandbox.Exec(ctx, "(env -i setsid sleep 86399.25 &)")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, processes(t, sandbox, mark))
	})

	t.Run("Kill", func(t *testing.T) {
		read, stdout := io.Pipe()
		cmd := sandbox.Command("bash", "-c", tree)
		cmd.Stdout = stdout
		require.NoError(t, cmd.Start(t.Context()))
		_, err := io.ReadFull(read, make([]byte, 3))
		require.NoError(t, err)
		go io.Copy(io.Discard, read) //nolint:errcheck // a pipe of this test
		require.NoError(t, cmd.Kill())
		var exit *seer.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		assert.NotZero(t, exit.Code)
		assert.Zero(t, processes(t, sandbox, mark))
		require.NoError(t, stdout.Close())
	})
}
