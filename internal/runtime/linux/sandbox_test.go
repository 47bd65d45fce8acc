//go:build linux

package linux_test

import (
	"context"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

func TestSandboxRunsAndEnds(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r)

	got := run(t, s, "/bin/sh", "-c", "id -u; echo problem >&2; exit 7")
	assert.Equal(t, result{"0\n", "problem\n", runtime.ExitStatus{Code: 7}}, got)

	_, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"no-such-program"}})
	assert.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, s.Terminate(t.Context()))
	require.NoError(t, s.Terminate(t.Context()))
	<-s.Done()
	_, err = s.Exec(context.Background(), runtime.ExecSpec{Args: []string{"true"}})
	assert.ErrorIs(t, err, runtime.ErrEnded)
}
