//go:build linux

package linux_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

const hog = `
import sys
held = []
for _ in range(512):
    held.append(b"x" * (1 << 20))
print(len(held))`

func TestMemoryHogDiesAlone(t *testing.T) {
	r := newRuntime(t)
	neighbour := start(t, r)
	s := start(t, r, func(spec *runtime.Spec) { spec.MemoryMB = 128 })
	got := run(t, s, "python3", "-c", hog)
	assert.Empty(t, got.stdout)
	if len(s.Warnings()) == 0 {
		assert.Equal(t, runtime.ExitStatus{Signal: int(syscall.SIGKILL), OOM: true}, got.status)
	} else {
		assert.Contains(t, s.Warnings()[0], "128 MiB")
		assert.NotZero(t, got.status.Code, got.stderr)
	}
	assert.Equal(t, "alive\n", sh(t, s, "echo alive"), "the sandbox itself goes on")
	assert.Equal(t, "alive\n", sh(t, neighbour, "echo alive"))
}

func TestForkBombDiesAlone(t *testing.T) {
	r := newRuntime(t)
	neighbour := start(t, r)
	s := start(t, r)
	p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"python3", "-c", bomb}, DiscardStderr: true})
	require.NoError(t, err)
	got := finish(t, p)
	assert.Equal(t, "no more\n", got.stdout)
	assert.Equal(t, "alive\n", sh(t, neighbour, "echo alive"))
	require.NoError(t, s.Terminate(t.Context()))
}

const bomb = `
import os, time
try:
    for _ in range(20000):
        if os.fork() == 0:
            os.close(1)
            time.sleep(1000)
except OSError:
    print("no more")`

func TestLimitsLeaveNothing(t *testing.T) {
	r := newRuntimeIn(t, linux.Config{Dir: seededDir(t)})
	s := start(t, r, func(spec *runtime.Spec) {
		spec.ID = "limited"
		spec.CPU, spec.MemoryMB = 0.5, 64
	})
	if os.Geteuid() == 0 {
		assert.Empty(t, s.Warnings())
		assert.NotEmpty(t, controlGroups(t, "seer-*-limited"))
	}
	require.NoError(t, s.Terminate(t.Context()))
	assert.Empty(t, controlGroups(t, "seer-*-limited"))
}
