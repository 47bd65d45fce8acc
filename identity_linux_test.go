package seer

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What hides the processes of other users does not make their programs look
// gone, or Reap would end what they use.
func TestAHiddenProcessIsNotGone(t *testing.T) {
	start, running := processStart(1)
	require.True(t, running)
	require.NotEmpty(t, start)

	type answer struct {
		start   string
		running bool
		err     error
	}
	answers := make(chan answer)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its other /proc and user
		if err := hideProcesses(); err != nil {
			answers <- answer{err: err}
			return
		}
		start, running := processStart(1)
		answers <- answer{start: start, running: running}
	}()
	got := <-answers
	if errors.Is(got.err, syscall.EPERM) {
		t.Skip("only root can hide processes: ", got.err)
	}
	require.NoError(t, got.err)
	assert.Equal(t, answer{running: true}, got)

	other := program{machine: thisMachine(), pid: 1, start: start}
	assert.False(t, other.gone())
	other.start += "0"
	assert.True(t, other.gone(), "its ID belongs to another process now")
	ended := exec.CommandContext(t.Context(), "true")
	require.NoError(t, ended.Run())
	assert.True(t, program{machine: thisMachine(), pid: ended.Process.Pid, start: start}.gone())
}

// hideProcesses gives this thread a /proc without the processes of other users,
// and makes it one of nobody's.
func hideProcesses() error {
	const nobody = 65534
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount /: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, call := range []struct{ number, id uintptr }{{syscall.SYS_SETGROUPS, 0}, {syscall.SYS_SETRESGID, nobody}, {syscall.SYS_SETRESUID, nobody}} {
		if _, _, failed := syscall.RawSyscall(call.number, call.id, call.id, call.id); failed != 0 {
			return fmt.Errorf("become nobody: %w", failed)
		}
	}
	return nil
}
