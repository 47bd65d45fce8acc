//go:build linux

package linux_test

import (
	"context"
	"io/fs"
	"sync"
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

func TestManySandboxesAtOnce(t *testing.T) {
	r := newRuntime(t)
	hostImage(t, r)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			s := start(t, r, func(spec *runtime.Spec) { spec.Docker = true })
			sh(t, s, "echo x > /var/lib/docker/file; echo x > /root/file")
			assert.NoError(t, s.Terminate(t.Context()))
		})
	}
	wait.Wait()
}

func TestSandboxEndsWithItsCommand(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r, func(spec *runtime.Spec) { spec.Command = []string{"sh", "-c", "sleep 1000 & read line; exit 4"} })
	_, err := s.Main().Stdin().Write([]byte("end\n"))
	require.NoError(t, err)
	<-s.Done()
	assert.Equal(t, runtime.ExitStatus{Code: 4}, s.Main().Status())

	spec := runtime.Spec{ID: sandboxID(t), Image: hostImage(t, r).ID, Command: []string{"no-such-program"}}
	_, err = r.Start(t.Context(), spec)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	spec.Image = "im-none"
	_, err = r.Start(t.Context(), spec)
	assert.ErrorIs(t, err, runtime.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Start(ctx, runtime.Spec{ID: sandboxID(t), Image: hostImage(t, r).ID, Command: []string{"true"}})
	assert.ErrorIs(t, err, context.Canceled)
}
