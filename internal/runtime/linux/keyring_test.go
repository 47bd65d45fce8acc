//go:build linux

package linux_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	seekerArgument = "seek-a-key-from-inside"
	keyName        = "seer-test"
)

// seekKey is a program that looks for the key of its own session, and then
// lets a sandbox do so.
func seekKey() {
	if err := seekKeyIn(os.Args[2]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func seekKeyIn(dir string) error {
	if _, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", keyName, 0); err != nil {
		return fmt.Errorf("the key is not there: %w", err)
	}
	s, err := startVictim(dir)
	if err != nil {
		return err
	}
	const seek = `import ctypes, sys; print(ctypes.CDLL(None).syscall(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), b"user", sys.argv[4].encode(), 0))`
	p, err := s.Exec(context.Background(), runtime.ExecSpec{Args: []string{
		"python3", "-c", seek, strconv.Itoa(unix.SYS_KEYCTL), strconv.Itoa(unix.KEYCTL_SEARCH), strconv.Itoa(unix.KEY_SPEC_SESSION_KEYRING), keyName,
	}})
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, p.Stdout())
	return err
}

func TestNoKeyOfTheHostsSessionIsInside(t *testing.T) {
	dir := seededDir(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, seekerArgument, dir)
	cmd.Stderr = os.Stderr
	result := make(chan string)
	go func() {
		defer close(result)
		goruntime.LockOSThread() // for good: this thread has a session of its own
		_, err := unix.KeyctlJoinSessionKeyring("seer-test")
		if assert.NoError(t, err) {
			_, err = unix.AddKey("user", keyName, []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING)
			assert.NoError(t, err)
		}
		out, err := cmd.Output()
		assert.NoError(t, err)
		result <- string(out)
	}()
	assert.Equal(t, "-1\n", <-result)
}
