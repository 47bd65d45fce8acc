//go:build linux

package linux

import (
	"io"
	"os"
	"path/filepath"
	"testing"

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
