//go:build linux

package linux_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the kernel counts or sets for a session is not the program's: its
// terminal, its group of signals, its share of the processor.
func TestFirstProcessHasASessionOfItsOwn(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r)
	own, err := os.ReadFile("/proc/self/autogroup")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the kernel has no groups of sessions")
	}
	require.NoError(t, err)
	run(t, s, "sh", "-c", "echo 19 2>/dev/null >/proc/1/autogroup; true")
	after, err := os.ReadFile("/proc/self/autogroup")
	require.NoError(t, err)
	assert.Equal(t, string(own), string(after))
}
