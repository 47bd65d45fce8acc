//go:build linux

package escape_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	seer "github.com/ajobi-uhc/seer-go"
)

// Terminals: those that the owner opens in the sandbox, and the owner's own.
var terminalAttempts = []attempt{
	{name: "the maker of terminals is a fifo", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "rm -f /dev/ptmx; mkfifo /dev/ptmx", "tty")
	}},
	{name: "the maker of terminals is a file", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "rm -f /dev/ptmx; echo x >/dev/ptmx", "tty")
	}},
	{name: "the maker of terminals is the host's", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, `for t in $(ls /proc/1/task); do ln -sfn /proc/1/task/$t/root/dev/ptmx /dev/ptmx; done`, "tty; ls /dev/pts")
	}},
	{name: "the directory of terminals is another", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, `rm -f /dev/ptmx; mkdir -p /tmp/pts; mkfifo /tmp/pts/0 /tmp/pts/1; ln -s /tmp/pts/0 /dev/ptmx`, "tty")
	}},
	{name: "a terminal that is stopped", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "true", `python -c 'import termios; termios.tcflow(1, termios.TCOOFF)'; yes | head -c 10000000`)
	}},
	{name: "a terminal that nobody else may open", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "true", `python -c 'import fcntl; fcntl.ioctl(1, 0x540c)'; sleep 1000`)
	}},
	{name: "a terminal that is held open", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "true", `setsid sleep 1000 & exit 0`)
	}},
	{name: "a terminal that floods", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "true", `stty raw -echo; yes`)
	}},
	{name: "a terminal without an end of its input", owner: func(t *testing.T, w *world) string {
		return w.terminal(t, "true", `stty raw -icanon -isig; cat >/dev/null`)
	}},
	{name: "input for the owner's shell", python: `
import pty
master, slave = pty.openpty()
for number in (0, 1, 2):
    def push(n):
        fcntl.ioctl(n, 0x5412, b"x")
        out(f"pushed into {n}")
    each([number], push)
`},
	{name: "orders for the owner's terminal in what a build prints", owner: func(t *testing.T, w *world) string {
		return w.onTerminal(t, `printf '\033]0;owned\007\033[2J\033P+q\033\\ \233\061m\n'; sleep 0.3; printf '\033[6n last \033c\r\n'; true`)
	}},
}

// terminal opens a terminal where an agent has prepared for that, and runs a
// command there, for some seconds. The sandbox must answer then.
func (w *world) terminal(t *testing.T, prepare, command string) string {
	t.Helper()
	sandbox := w.start(t, seer.SandboxConfig{})
	w.plant(t, sandbox, prepare)
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	limited, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	began := time.Now()
	var output bytes.Buffer
	cmd := sandbox.Command("bash", "-c", command)
	cmd.PTY, cmd.Stdin = true, strings.NewReader("x\n")
	cmd.Stdout = &bounded{buffer: &output}
	_ = cmd.Run(limited)
	if took := time.Since(began); took > endLimit {
		return outf("the call returned after %v", took)
	}
	if got := w.leaked(output.String()); got != "" {
		return got
	}
	if got := w.alive(ctx, sandbox); got != "" {
		return got
	}
	began = time.Now()
	if err := sandbox.Terminate(ctx); err != nil || time.Since(began) > endLimit {
		return outf("the sandbox ended after %v: %v", time.Since(began), err)
	}
	return ""
}

// bounded keeps the beginning of an output.
type bounded struct{ buffer *bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.buffer.Len() < 1<<20 {
		b.buffer.Write(p)
	}
	return len(p), nil
}

// onTerminal starts a sandbox whose image an agent's code helps to build, with
// the owner's progress on a terminal, and looks for its orders there.
func (w *world) onTerminal(t *testing.T, command string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer func() { _ = master.Close() }()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	var shown bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			shown.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{SetupCommands: []string{fmt.Sprintf(": %d; ", time.Now().UnixNano()) + command}},
		seer.WithBackend(w.server.Backend()), seer.WithProgress(seer.PrintProgress(slave))).Start(t.Context())
	if err == nil {
		w.end(t, sandbox)
	} else if strings.ContainsAny(err.Error(), "\x1b\u009b\x07") {
		_ = slave.Close()
		<-read
		return outf("the error has orders for a terminal: %q", err)
	}
	require.NoError(t, slave.Close())
	<-read
	for _, order := range []string{"\x1b]", "\x1b[2J", "\x1bP", "\x1bc", "\x1b[6n", "\x9b", "\u009b", "\x07"} {
		if strings.Contains(shown.String(), order) {
			return outf("the owner's terminal got %q", order)
		}
	}
	return ""
}
