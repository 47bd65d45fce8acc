//go:build linux

package linux

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// What a sandbox takes of the kernel's file watches is its own: neither the
// host's user nor another sandbox goes without, whatever users the programs
// inside become.
func TestFileWatchesAreTheSandboxsOwn(t *testing.T) {
	const hog = `
import ctypes, os
libc, made = ctypes.CDLL(None), 0
for user in range(0, 40):
    if os.fork() == 0:
        try: os.setuid(user)
        except OSError: pass
        while libc.inotify_init1(0) >= 0: pass
        os.write(1, b"x")
        os.kill(os.getpid(), 19)
print("all", flush=True)
while True: os.wait()`
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		if i.sandbox.(*sandbox).runtime.privileges == guest.Host { //nolint:errcheck,forcetypeassert // it is one
			return // without user namespaces the kernel counts by the host's users
		}
		p, err := i.sandbox.Exec(t.Context(), runtime.ExecSpec{Args: []string{"python3", "-c", hog}})
		require.NoError(t, err)
		_, err = io.ReadFull(p.Stdout(), make([]byte, 40+len("all\n")))
		require.NoError(t, err)
		var own []int
		for range 4 {
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			require.NoError(t, err)
			own = append(own, fd)
		}
		for _, fd := range own {
			require.NoError(t, unix.Close(fd))
		}
		require.NoError(t, p.Signal(9))
		<-p.Done()
		for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
			assert.NoError(t, c.Close())
		}
	})
}

// The kernel counts some things for the user that sandboxes share on the host.
// Whatever one takes of them, another works on, and so does the host's program.
func TestWhatAUserHasIsNotTakenByOne(t *testing.T) {
	for name, hog := range map[string]string{
		"descriptors under way": `
import array, resource, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
rights, held = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))], []
try:
    while True:
        held.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        held[-1][0].setblocking(False)
        try:
            while True: held[-1][0].sendmsg([b"x"], rights)
        except BlockingIOError: pass
except OSError as error: print(error.errno, flush=True)`,
		"signals that wait": `
import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
libc = ctypes.CDLL(None, use_errno=True)
while libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), ctypes.c_void_p(1)) == 0: pass
print(ctypes.get_errno(), flush=True)`,
		"terminals": `
import os
held = []
try:
    while True: held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError as error: print(error.errno, flush=True)`,
	} {
		t.Run(name, func(t *testing.T) {
			inEveryMode(t, nil, func(t *testing.T, i *inside) {
				r := i.sandbox.(*sandbox).runtime //nolint:errcheck,forcetypeassert // it is one
				img, err := r.HostImage(t.Context())
				require.NoError(t, err)
				spec := runtime.Spec{ID: "neighbour", Image: img.ID, Command: []string{"sleep", "infinity"}}
				s, err := r.Start(t.Context(), spec)
				require.NoError(t, err)
				p, err := i.sandbox.Exec(t.Context(), runtime.ExecSpec{Args: []string{"python3", "-c", hog + "\nimport signal; signal.pause()"}, DiscardStderr: true})
				require.NoError(t, err)
				_, err = io.ReadFull(p.Stdout(), make([]byte, 3)) // it has all that it gets
				require.NoError(t, err)

				neighbour := &inside{t, s}
				assert.Equal(t, "alive", neighbour.sh("echo alive"))
				terminal, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"true"}, PTY: &runtime.PTY{Rows: 24, Cols: 80}})
				if assert.NoError(t, err) {
					<-terminal.Done()
					assert.NoError(t, terminal.Stdout().Close())
				}
				file, err := s.Files().OpenFile(t.Context(), "/etc/passwd", os.O_RDONLY, 0)
				if assert.NoError(t, err) {
					assert.NoError(t, file.Close())
				}
				var timer int32 // waits with a signal
				_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&timer)))
				if assert.Zero(t, errno) {
					_, _, errno = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(timer), 0, 0)
					assert.Zero(t, errno)
				}
				if r.privileges != guest.Host { // without user namespaces the kernel counts by the host's users
					assert.Equal(t, "0", neighbour.sh(`python3 -c 'import ctypes; print(ctypes.CDLL(None).timer_create(1, 0, ctypes.byref(ctypes.c_void_p())))'`))
				}
				require.NoError(t, p.Signal(9))
				<-p.Done()
				for _, c := range []io.Closer{p.Stdin(), p.Stdout()} {
					assert.NoError(t, c.Close())
				}
			})
		})
	}
}

// What a program starts in its first moment gets its limits, too.
func TestLimitsHoldForWhatIsStartedAtOnce(t *testing.T) {
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		most := i.sandbox.(*sandbox).guestLimit(t, unix.RLIMIT_NOFILE) //nolint:errcheck,forcetypeassert // it is one
		one := fmt.Sprintf(`(until [ "$(ulimit -Hn)" = %d ]; do :; done; echo limited) & `, most)
		for range 20 {
			assert.Equal(t, "limited\nlimited\nlimited", i.sh(one+one+one+"wait"))
		}
	})
}

func (s *sandbox) guestLimit(t *testing.T, resource int) uint64 {
	t.Helper()
	limits, err := processLimits(0, s.group != nil)
	require.NoError(t, err)
	return limits[resource]
}

// A sandbox whose programs take all the processes that they may
// have goes on once they are gone, and the first process with it.
func TestFirstProcessSurvivesHogs(t *testing.T) {
	const bomb = `
import os, time
while True:
    try:
        if os.fork() == 0: continue
    except OSError:
        os.write(1, b"x")
        time.sleep(1000)`
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		s := i.sandbox.(*sandbox) //nolint:errcheck,forcetypeassert // it is one
		if s.group == nil && os.Geteuid() == 0 {
			t.Fatal("root has control groups")
		}
		p, err := i.sandbox.Exec(t.Context(), runtime.ExecSpec{Args: []string{"python3", "-c", bomb}, DiscardStderr: true})
		require.NoError(t, err)
		_, err = io.ReadFull(p.Stdout(), make([]byte, 1))
		require.NoError(t, err)
		// Meanwhile the first process still does what it is asked.
		for range 20 {
			_, err := i.sandbox.Files().Stat(t.Context(), "/etc/passwd")
			require.NoError(t, err)
		}
		require.NoError(t, p.Signal(9))
		<-p.Done()
		for _, c := range []io.Closer{p.Stdin(), p.Stdout()} {
			assert.NoError(t, c.Close())
		}
		assert.Equal(t, "alive", i.sh("echo alive"))
	})
}

// Groups that are made below a sandbox's do not keep that from being removed.
func TestGroupsBelowAreRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has control groups here")
	}
	inEveryMode(t, nil, func(t *testing.T, i *inside) {
		s := i.sandbox.(*sandbox) //nolint:errcheck,forcetypeassert // it is one
		for _, dir := range s.group.dirs {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "c"), 0o755))
		}
		require.NoError(t, i.sandbox.Terminate(t.Context()))
		for _, dir := range s.group.dirs {
			assert.NoDirExists(t, dir)
		}
	})
}
