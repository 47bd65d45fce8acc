//go:build linux

package escape_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

// dodges are commands that try to outlive the call that started them.
var dodges = map[string]string{
	"a process in a session of its own":  `setsid sleep 98761 & wait`,
	"a process that has forked twice":    `(setsid sh -c '(sleep 98761 &) ; exit' &) ; sleep 98761`,
	"a process without its environment":  `env -i setsid sleep 98761 & wait`,
	"a process that ignores being asked": `trap '' TERM INT HUP; sh -c 'trap "" TERM INT HUP; sleep 98761' & wait; sleep 98761`,
	"a process that is stopped":          `sh -c 'kill -STOP $$; sleep 98761' & sleep 98761`,
	"processes that begin as others end": `python -c 'import os, sys, time
end = time.time() + 8
while time.time() < end:
    if os.fork() == 0:
        os.setsid()
        continue
    os._exit(0)
os.execvp("sleep", ["sleep", "98761"])' ; sleep 98761`,
	"a process that others trace": `python -c 'import ctypes, os, time
libc = ctypes.CDLL(None)
child = os.fork()
if child == 0: os.execvp("sleep", ["sleep", "98761"])
libc.ptrace(16, child, 0, 0)
while True: time.sleep(1000)'`,
	"a process whose names are gone": `env -u SEER_EXEC setsid python -c 'import ctypes, os, time
libc = ctypes.CDLL(None)
os.environ.clear()
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.execve("/bin/sleep", ["sleep", "98761"], {})' ; sleep 98761`,
}

// signalAttempts are signals to what is not the agent's, and ways past those to itself.
func signalAttempts() []attempt {
	all := []attempt{
		{name: "every signal to PID 1", owner: func(t *testing.T, w *world) string {
			sandbox := w.start(t, seer.SandboxConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
			defer cancel()
			_, _ = sandbox.Exec(ctx, "for s in $(seq 1 64); do kill -$s 1; done; for s in 9 19; do kill -$s 1; done")
			// It may end its own sandbox, no other.
			if got := w.alive(ctx, w.neighbour); got != "" {
				return got
			}
			ending, stop := context.WithTimeout(ctx, endLimit)
			defer stop()
			return outcomeOf(sandbox.Terminate(ending))
		}},
		{name: "every signal to every process", owner: func(t *testing.T, w *world) string {
			sandbox := w.start(t, seer.SandboxConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
			defer cancel()
			_, _ = sandbox.Exec(ctx, "kill -STOP -1; kill -9 -1")
			if got := w.alive(ctx, w.neighbour); got != "" {
				return got
			}
			ending, stop := context.WithTimeout(ctx, endLimit)
			defer stop()
			return outcomeOf(sandbox.Terminate(ending))
		}},
		{name: "a signal to the owner's program", python: `
each([W["pid"]], lambda p: out("sent") if os.kill(p, 0) is None and not os.path.exists(f"/proc/{p}") else None)
for number in (1, 0, 2):
    def own(n):
        fcntl.fcntl(n, fcntl.F_SETOWN, W["pid"])
        fcntl.fcntl(n, 10, 9)
        fcntl.fcntl(n, fcntl.F_SETFL, fcntl.fcntl(n, fcntl.F_GETFL) | os.O_ASYNC)
    each([number], own)
`},
		{name: "a storm of signals to PID 1", owner: func(t *testing.T, w *world) string {
			ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
			defer cancel()
			storm, stop := context.WithTimeout(ctx, 3*time.Second)
			defer stop()
			go func() {
				_, _ = w.agent.ExecPython(storm, "import os, signal\nwhile True:\n    for n in (signal.SIGURG, signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCONT):\n        os.kill(1, n)")
			}()
			if got := w.alive(ctx, w.agent); got != "" {
				return got
			}
			<-storm.Done()
			return w.alive(ctx, w.neighbour)
		}},
		{name: "everything stands still when the sandbox is to be ended", owner: func(t *testing.T, w *world) string {
			sandbox := w.start(t, seer.SandboxConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), endLimit)
			defer cancel()
			limited, stop := context.WithTimeout(ctx, 2*time.Second)
			defer stop()
			_, _ = sandbox.ExecPython(limited, "import os, signal\nfor _ in range(200):\n    if os.fork() == 0:\n        os.setsid(); os.kill(os.getpid(), signal.SIGSTOP)\nos.kill(os.getpid(), signal.SIGSTOP)")
			return outcomeOf(sandbox.Terminate(ctx))
		}},
	}
	for at, name := range slices.Sorted(maps.Keys(dodges)) {
		// Each is known by how long it sleeps.
		seconds := strconv.Itoa(98700 + at)
		command := strings.ReplaceAll(dodges[name], "98761", seconds)
		all = append(all, attempt{name: name, owner: func(t *testing.T, w *world) string {
			ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
			defer cancel()
			limited, stop := context.WithTimeout(ctx, time.Second)
			defer stop()
			began := time.Now()
			_, _ = w.agent.Exec(limited, command)
			if took := time.Since(began); took > endLimit {
				return outf("the cancelled call returned after %v", took)
			}
			text, err := w.agent.Exec(ctx, "grep -lsa '"+seconds[:4]+"["+seconds[4:]+"]' /proc/[0-9]*/cmdline; true")
			if err != nil {
				return err.Error()
			}
			if text != "" {
				return "it still runs"
			}
			return ""
		}})
	}
	return all
}
