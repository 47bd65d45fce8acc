//go:build linux

package escape_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

// resourceAttempts use up what the sandbox does not own. None takes more than
// some hundred megabytes, whatever it could.
func resourceAttempts() []attempt {
	return []attempt{
		{name: "all watchers of files", owner: func(t *testing.T, w *world) string {
			return w.hold(t, w.agent, `
instances = []
while len(instances) < 1000:
    number = libc.inotify_init1(0)
    if number < 0: break
    instances.append(number)
ready()
`, func(context.Context) string {
				fd, err := unix.InotifyInit1(0)
				if err != nil {
					return outf("the owner gets none: %v", err)
				}
				return outcomeOf(unix.Close(fd))
			})
		}},
		{name: "all watchers of files, by several processes", owner: func(t *testing.T, w *world) string {
			return w.hold(t, w.agent, `
for _ in range(8):
    if os.fork() == 0:
        instances = [libc.inotify_init1(0) for _ in range(200)]
        signal.pause()
time.sleep(0.3)
ready()
for child in open(f"/proc/self/task/{os.getpid()}/children").read().split(): os.kill(int(child), signal.SIGKILL)
`, func(context.Context) string {
				fd, err := unix.InotifyInit1(0)
				if err != nil {
					return outf("the owner gets none: %v", err)
				}
				return outcomeOf(unix.Close(fd))
			})
		}},
		{name: "all the memory of pipes", owner: func(t *testing.T, w *world) string {
			return w.hold(t, w.agent, `
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
pipes = []
try:
    for _ in range(100):
        ends = os.pipe()
        fcntl.fcntl(ends[0], 1031, 1 << 20)
        pipes.append(ends)
except OSError as error: print(error)
ready()
`, func(context.Context) string {
				var fds [2]int
				if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
					return err.Error()
				}
				size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0)
				if err == nil && size < 16<<10 {
					return outf("the owner's pipes hold %d bytes now", size)
				}
				return outcomeOf(unix.Close(fds[0]), unix.Close(fds[1]))
			})
		}},
		{name: "all keys", owner: func(t *testing.T, w *world) string {
			return w.hold(t, w.agent, `
for number in range(250):
    try: call("add_key", b"user", f"escape{number}".encode(), b"x", 1, -3)
    except OSError as error: print(error); break
ready()
`, func(context.Context) string {
				id, err := unix.AddKey("user", "seer-escape-owner", []byte("x"), unix.KEY_SPEC_THREAD_KEYRING)
				if err != nil {
					return outf("the owner gets none: %v", err)
				}
				_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
				return outcomeOf(err)
			})
		}},
		{name: "all watches of a poll", owner: func(t *testing.T, w *world) string {
			return w.hold(t, w.agent, `
import select
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
pipe = os.pipe()
polls = []
try:
    copies = [os.dup(pipe[0]) for _ in range(500)]
    for _ in range(300):
        poll = select.epoll()
        polls.append(poll)
        for copy in copies: poll.register(copy)
except OSError as error: print(error)
ready()
`, func(ctx context.Context) string { return w.alive(ctx, w.neighbour) })
		}},
		{name: "memory past the sandbox's limit", needs: func(k kernel) bool { return k.cgroups > 0 }, owner: func(t *testing.T, w *world) string {
			return w.tooMuch(t, `
held = bytearray(200 << 20)
for at in range(0, len(held), 4096): held[at] = 1
out("it has 200 MB of 64")
`)
		}},
		{name: "memory in files past the sandbox's limit", needs: func(k kernel) bool { return k.cgroups > 0 }, owner: func(t *testing.T, w *world) string {
			return w.tooMuch(t, `
with open("/dev/shm/large", "wb") as file:
    for _ in range(200): file.write(b"x" * (1 << 20))
out("it has 200 MB of 64")
`)
		}},
		{name: "memory without a name past the sandbox's limit", needs: func(k kernel) bool { return k.cgroups > 0 }, owner: func(t *testing.T, w *world) string {
			return w.tooMuch(t, `
number = os.memfd_create("large")
for _ in range(200): os.write(number, b"x" * (1 << 20))
out("it has 200 MB of 64")
`)
		}},
		{name: "memory of several processes past the sandbox's limit", needs: func(k kernel) bool { return k.cgroups > 0 }, owner: func(t *testing.T, w *world) string {
			return w.tooMuch(t, `
read, write = os.pipe()
for _ in range(5):
    if os.fork() == 0:
        held = bytearray(40 << 20)
        for at in range(0, len(held), 4096): held[at] = 1
        os.write(write, b"x")
        signal.pause()
os.close(write)
got = b""
os.set_blocking(read, False)
end = time.monotonic() + 4
while len(got) < 5 and time.monotonic() < end:
    try: got += os.read(read, 5)
    except BlockingIOError: time.sleep(0.05)
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    if len([c for c in children if "Z" not in open(f"/proc/{c}/stat").read().split(")")[1][:3]]) < 5: raise OSError("killed")
if len(got) == 5: out("it has 200 MB of 64")
`)
		}},
		{name: "processes without end", owner: func(t *testing.T, w *world) string {
			sandbox := w.start(t, seer.SandboxConfig{})
			ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
			defer cancel()
			bomb, stop := context.WithTimeout(ctx, 6*time.Second)
			text, _ := sandbox.Command("python", "-c", `
import os, signal, sys
made = 0
try:
    while made < 6000:
        if os.fork() == 0:
            os.setsid()
            signal.pause()
        made += 1
except OSError as error: print(made, error, flush=True)
else: print("OUT: made", made, flush=True)
signal.pause()
`).CombinedOutput(bomb)
			stop()
			if strings.Contains(string(text), "OUT") {
				return string(text)
			}
			if got := w.alive(ctx, w.neighbour); got != "" {
				return got
			}
			began := time.Now()
			if err := sandbox.Terminate(ctx); err != nil {
				return outf("the sandbox cannot be ended: %v", err)
			}
			if took := time.Since(began); took > endLimit {
				return outf("its end took %v", took)
			}
			return ""
		}},
		{name: "discarded output on the owner's disk", program: func(ctx context.Context, p *program) string {
			before := hidden()
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			cmd := p.shared(ctx).Command("head", "-c", "500000000", "/dev/zero")
			if err := cmd.Start(limited); err != nil {
				return err.Error()
			}
			ended := make(chan struct{})
			go func() { defer close(ended); _ = cmd.Wait() }()
			for {
				if more := hidden() - before; more > 300<<20 {
					cancel()
					<-ended
					return outf("%d MB lie on the owner's disk", more>>20)
				}
				select {
				case <-ended:
					return p.alive(ctx)
				case <-time.After(20 * time.Millisecond):
				}
			}
		}},
		{name: "output of many commands on the owner's disk", program: func(ctx context.Context, p *program) string {
			before := hidden()
			var all sync.WaitGroup
			for range 12 {
				all.Go(func() { _ = p.shared(ctx).Command("head", "-c", "40000000", "/dev/zero").Run(ctx) })
			}
			all.Wait()
			if more := hidden() - before; more > 300<<20 {
				return outf("%d MB stay on the owner's disk", more>>20)
			}
			return p.alive(ctx)
		}},
		{name: "connections that are not read", program: unread},
		{name: "connections to the server that say nothing", program: func(ctx context.Context, p *program) string {
			server, err := local.Serve(ctx, local.ServeOptions{})
			if err != nil {
				return err.Error()
			}
			defer func() { _ = server.Close() }()
			address := strings.TrimPrefix(server.URL(), "http://")
			var limit syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				return err.Error()
			}
			lowered := limit
			lowered.Cur = uint64(countOpen()) + 150
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
				return err.Error()
			}
			var held []net.Conn
			for range 200 {
				c, err := net.DialTimeout("tcp", address, time.Second)
				if err != nil {
					break
				}
				held = append(held, c)
			}
			for _, c := range held {
				_ = c.Close()
			}
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				return err.Error()
			}
			backend := serverBackend(server)
			sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
			if err != nil {
				return outf("the server starts no sandbox any more: %v", err)
			}
			return outcomeOf(sandbox.Terminate(ctx), backend.Close())
		}},
	}
}

// serverBackend is a backend for a server of this program.
func serverBackend(server *local.Server) seer.Backend {
	values := map[string]string{}
	for _, variable := range server.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	return seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{
			ServerURL: values["MODAL_SERVER_URL"], TokenID: values["MODAL_TOKEN_ID"], TokenSecret: values["MODAL_TOKEN_SECRET"],
			PlainTunnels: true, NoGPU: true,
		}, nil
	}, nil)
}

// unread has a sandbox open connections to a service that sends for ever, and
// read nothing.
func unread(ctx context.Context, p *program) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	defer listener.Close()
	go func() {
		data := make([]byte, 1<<20)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for range 4 {
					if _, err := c.Write(data); err != nil {
						return
					}
				}
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	backend := local.New(local.AllowHost(listener.Addr().String()))
	defer func() { _ = backend.Close() }()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		return err.Error()
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	got := p.grown(150<<20, func() string {
		_, err := sandbox.ExecPython(ctx, fmt.Sprintf(`
import socket, time
held = []
for _ in range(200):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(5)
    try: s.connect((socket.gethostbyname("host.seer.internal"), %s))
    except OSError as error: print(error); continue
    held.append(s)
time.sleep(1.5)
`, port))
		return outcomeOf(err)
	})
	if err := sandbox.Terminate(ctx); err != nil && got == "" {
		return err.Error()
	}
	return got
}

// tooMuch runs code in a sandbox with 64 MiB, and looks at its neighbour.
func (w *world) tooMuch(t *testing.T, code string) string {
	t.Helper()
	sandbox := w.start(t, seer.SandboxConfig{MemoryMiB: 64})
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	output, _ := sandbox.Command("python", "-c", agentPy, w.facts, code).CombinedOutput(ctx)
	if _, what, found := strings.Cut(string(output), "OUT: "); found {
		return what
	}
	require.NoError(t, ctx.Err())
	return w.alive(ctx, w.neighbour)
}
