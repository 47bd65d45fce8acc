//go:build linux

package linux

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// inEveryMode runs a test in a sandbox of each kind that this user can start.
func inEveryMode(t *testing.T, change func(*runtime.Spec), test func(*testing.T, *inside)) {
	t.Helper()
	modes := map[string]guest.Privileges{"unprivileged": guest.Mapped}
	if os.Geteuid() == 0 {
		modes = map[string]guest.Privileges{"root": guest.Identity, "root without user namespaces": guest.Host}
	}
	dir := t.TempDir()
	for name, privileges := range modes {
		t.Run(name, func(t *testing.T) {
			r, err := New(Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, r.Close()) })
			r.privileges = privileges
			img, err := r.HostImage(t.Context())
			require.NoError(t, err)
			spec := runtime.Spec{ID: "walls", Image: img.ID, Command: []string{"sleep", "infinity"}}
			if change != nil {
				change(&spec)
			}
			s, err := r.Start(t.Context(), spec)
			require.NoError(t, err)
			test(t, &inside{t, s})
		})
	}
}

// inside is an agent's view of a sandbox.
type inside struct {
	*testing.T
	sandbox runtime.Sandbox
}

// run returns what a command prints, and fails nothing if that fails.
func (i *inside) run(args ...string) string {
	i.Helper()
	p, err := i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: args})
	require.NoError(i, err)
	require.NoError(i, p.Stdin().Close())
	complaints := make(chan string)
	go func() {
		b, _ := io.ReadAll(p.Stderr())
		complaints <- string(b)
	}()
	out, err := io.ReadAll(p.Stdout())
	require.NoError(i, err)
	if said := <-complaints; said != "" {
		i.Log(said)
	}
	<-p.Done()
	assert.NoError(i, p.Stdout().Close())
	assert.NoError(i, p.Stderr().Close())
	return strings.TrimSpace(string(out))
}

func (i *inside) sh(script string) string { i.Helper(); return i.run("sh", "-c", script) }

// systemCall is one with arguments that are numbers or texts.
type systemCall []any

// call makes system calls as a program inside does and returns their errors.
func (i *inside) call(calls ...systemCall) []syscall.Errno {
	i.Helper()
	const program = `
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
def one(call):
    ctypes.set_errno(0)
    r = libc.syscall(*[ctypes.c_char_p(a.encode()) if isinstance(a, str) else ctypes.c_long(a) for a in call])
    return ctypes.get_errno() if r == -1 else 0
print(json.dumps([one(c) for c in json.loads(sys.argv[1])]))`
	text, err := json.Marshal(calls)
	require.NoError(i, err)
	var errnos []syscall.Errno
	require.NoError(i, json.Unmarshal([]byte(i.run("python3", "-c", program, string(text))), &errnos))
	return errnos
}

// The kernel shares out time by sessions, and whoever may change the share of
// the first process changes that of its session.
func TestTheFirstProcessHasASessionOfItsOwn(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		fields := strings.Fields(i.sh("cat /proc/1/stat"))
		require.Greater(t, len(fields), 5)
		assert.Equal(t, "1", fields[5])
	})
}

func TestCallsThatNothingNeeds(t *testing.T) {
	refused := map[string]struct {
		call systemCall
		want syscall.Errno
	}{
		"bluetooth":           {systemCall{unix.SYS_SOCKET, unix.AF_BLUETOOTH, unix.SOCK_STREAM, 0}, unix.EAFNOSUPPORT},
		"can":                 {systemCall{unix.SYS_SOCKET, unix.AF_CAN, unix.SOCK_RAW, 1}, unix.EAFNOSUPPORT},
		"crypto":              {systemCall{unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, unix.EAFNOSUPPORT},
		"packet":              {systemCall{unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0}, unix.EAFNOSUPPORT},
		"vsock":               {systemCall{unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0}, unix.EAFNOSUPPORT},
		"xdp":                 {systemCall{unix.SYS_SOCKET, unix.AF_XDP, unix.SOCK_RAW, 0}, unix.EAFNOSUPPORT},
		"netfilter":           {systemCall{unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, unix.EPROTONOSUPPORT},
		"add_key":             {systemCall{unix.SYS_ADD_KEY, "user", "name", "value", 5, unix.KEY_SPEC_SESSION_KEYRING}, unix.ENOSYS},
		"keyctl":              {systemCall{unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_SESSION_KEYRING, 0}, unix.ENOSYS},
		"request_key":         {systemCall{unix.SYS_REQUEST_KEY, "user", "name", 0, 0}, unix.ENOSYS},
		"io_uring":            {systemCall{unix.SYS_IO_URING_SETUP, 1, 0}, unix.ENOSYS},
		"bpf":                 {systemCall{unix.SYS_BPF, 0, 0, 0}, unix.EPERM},
		"userfaultfd":         {systemCall{unix.SYS_USERFAULTFD, 1}, unix.EPERM},
		"perf":                {systemCall{unix.SYS_PERF_EVENT_OPEN, 0, 0, -1, -1, 0}, unix.EPERM},
		"module":              {systemCall{unix.SYS_DELETE_MODULE, "dummy", 0}, unix.EPERM},
		"kexec":               {systemCall{unix.SYS_KEXEC_LOAD, 0, 0, 0, 0}, unix.EPERM},
		"handle":              {systemCall{unix.SYS_OPEN_BY_HANDLE_AT, -1, 0, 0}, unix.EPERM},
		"kernel log":          {systemCall{unix.SYS_SYSLOG, 10, 0, 0}, unix.EPERM},
		"mount":               {systemCall{unix.SYS_MOUNT, "tmpfs", "/mnt", "tmpfs", 0, 0}, unix.EPERM},
		"fsopen":              {systemCall{unix.SYS_FSOPEN, "tmpfs", 0}, unix.EPERM},
		"user namespace":      {systemCall{unix.SYS_UNSHARE, unix.CLONE_NEWUSER}, unix.EPERM},
		"group namespace":     {systemCall{unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP}, unix.EPERM},
		"new mark":            {systemCall{unix.SYS_UNSHARE, unix.CLONE_NEWUTS}, unix.EPERM},
		"input of a terminal": {systemCall{unix.SYS_IOCTL, 0, unix.TIOCSTI, "x"}, unix.EPERM},
	}
	granted := map[string]systemCall{
		"unix":    {unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0},
		"inet":    {unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0},
		"inet6":   {unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_DGRAM, 0},
		"icmp":    {unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"routes":  {unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
		"inotify": {unix.SYS_INOTIFY_INIT1, 0},
	}
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		var names []string
		var calls []systemCall
		for name, r := range refused {
			names, calls = append(names, name), append(calls, r.call)
		}
		for name, call := range granted {
			names, calls = append(names, name), append(calls, call)
		}
		for n, got := range i.call(calls...) {
			assert.Equal(t, refused[names[n]].want, got, names[n])
		}
	})
}

func TestWhatTheKernelTellsOfTheHost(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		for _, path := range []string{"/proc/cmdline", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/kallsyms", "/proc/modules"} {
			assert.Empty(t, i.sh("cat "+path+" 2>/dev/null || true"), path)
		}
		assert.Empty(t, i.sh("ls -A /sys/firmware /sys/module 2>/dev/null | grep -v : || true"))
		for _, line := range strings.Split(i.sh("cat /proc/self/cgroup"), "\n") {
			assert.Regexp(t, `^\d+:[^:]*:/$`, line, "no group of the host")
		}
		assert.Empty(t, i.sh("find /sys/fs/cgroup -mindepth 1 2>/dev/null"))
		assert.Empty(t, i.sh("grep -w cgroup2* /proc/self/mounts || true"))
	})
}

// A device inside is the host's: what root inside does to its mode and owner
// would be done to that.
func TestDevicesKeepTheirModes(t *testing.T) {
	before, err := os.Stat("/dev/null")
	require.NoError(t, err)
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
			assert.Equal(t, "kept", i.sh("chmod 640 /dev/"+name+" 2>/dev/null || touch -d @0 /dev/"+name+" 2>/dev/null || echo kept"), name)
		}
		assert.Equal(t, "works", i.sh("echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo works"))
	})
	after, err := os.Stat("/dev/null")
	require.NoError(t, err)
	assert.Equal(t, before.Mode(), after.Mode())
}

// Whatever is sent to the first process, it goes on.
func TestFirstProcessSurvivesSignals(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		p, err := i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: []string{"python3", "-c", `
import os
for signal in range(1, 65):
    for _ in range(100):
        os.kill(1, signal)
print("sent")`}})
		require.NoError(t, err)
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		assert.Equal(t, "sent\n", string(out))
		for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
			assert.NoError(t, c.Close())
		}
		assert.Equal(t, "SigIgn:\t0000000000000000", i.sh("grep SigIgn /proc/self/status"), "a program has the defaults")
		// Everything else is killed, the sandbox's own command too: so it ends
		// in order, and the first process has nothing to say.
		p, err = i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "kill -9 -1"}, DiscardStdout: true, DiscardStderr: true})
		require.NoError(t, err)
		assert.NoError(t, p.Stdin().Close())
		<-i.sandbox.Main().Done()
		assert.Equal(t, int(syscall.SIGKILL), i.sandbox.Main().Status().Signal)
		require.NoError(t, i.sandbox.Terminate(context.Background()))
	})
}

func TestEveryModeGivesUpCapabilities(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		for line := range strings.Lines(i.sh("grep Cap /proc/self/status")) {
			name, set, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			want := map[string]string{"CapInh": "0000000000000000", "CapAmb": "0000000000000000"}[name]
			if want == "" {
				want = "00000000a00425fb" // no CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_MKNOD, CAP_NET_ADMIN, ...
			}
			assert.Equal(t, want, set, name)
		}
		assert.Contains(t, i.sh("grep Seccomp: /proc/self/status"), "2")
	})
}

// The names of the standard streams lead where the streams do, also where they
// lead nowhere.
func TestStandardStreamsHaveNames(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		const script = `echo out > /dev/stdout && echo err > /dev/stderr && cat < /dev/stdin`
		for _, discard := range []bool{false, true} {
			p, err := i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", script}, DiscardStdout: discard, DiscardStderr: discard})
			require.NoError(t, err)
			require.NoError(t, p.Stdin().Close())
			out, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			if !discard {
				assert.Equal(t, "out\n", string(out))
			}
			<-p.Done()
			assert.Equal(t, runtime.ExitStatus{}, p.Status())
			assert.NoError(t, p.Stdout().Close())
			assert.NoError(t, p.Stderr().Close())
		}
	})
}

// Of a command that is killed nothing is left, whatever its processes did to
// be no part of it any more; what another command started goes on.
func TestKillEndsWhatACommandStarted(t *testing.T) {
	const script = `
(env -i setsid sleep 777 &)
(setsid sh -c 'env -i sh -c "sleep 777 & sleep 777" &' &)
setpriv --reuid 65534 --regid 65534 --clear-groups env -i setsid sleep 777 &
exec python3 -c 'import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "777"], {})
    os._exit(0)
os.wait()
if sys.argv[1]:
    os.execv("/bin/sleep", ["sleep", "1000"])' "$0"
`
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		begin := func(script, argument string) runtime.Process {
			p, err := i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", script, argument}, DiscardStdout: true, DiscardStderr: true})
			require.NoError(t, err)
			assert.NoError(t, p.Stdin().Close())
			return p
		}
		left := func() string {
			return i.sh(`for f in /proc/[0-9]*; do [ "$(tr '\0' ' ' < $f/cmdline)" = "sleep 777 " ] && echo x; done 2>/dev/null | wc -l`)
		}
		until := func(want string) {
			t.Helper()
			require.Eventually(t, func() bool { return left() == want }, 20*time.Second, time.Millisecond)
		}
		bystander := begin("(env -i setsid sleep 777 &)", "")
		<-bystander.Done()
		until("1")
		for _, stays := range []string{"", "yes"} {
			p := begin(script, stays)
			if stays == "" {
				<-p.Done() // it is killed after its end
			}
			until("6")
			require.NoError(t, p.Signal(int(syscall.SIGKILL)))
			assert.Equal(t, "1", left(), "the bystander's")
			<-p.Done()
		}
		require.NoError(t, bystander.Signal(int(syscall.SIGKILL)))
		assert.Equal(t, "0", left())
	})
}

// Commands that have ended are forgotten once nothing of them is left, and so
// are the descriptors that they cost.
func TestCommandsAreForgotten(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		old, err := i.sandbox.Exec(i.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", "exec setsid sleep 777 &"}, DiscardStdout: true, DiscardStderr: true})
		require.NoError(t, err)
		assert.NoError(t, old.Stdin().Close())
		<-old.Done()
		for range 130 {
			i.run("true")
		}
		assert.NotZero(t, i.sh("pgrep -x sleep | wc -l"))
		require.NoError(t, old.Signal(int(syscall.SIGKILL)), "it has left something")
		assert.Equal(t, "1", i.sh("pgrep -cx sleep"), "the sandbox's own")
	})
}
