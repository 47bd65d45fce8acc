//go:build linux

package linux_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

func benchRuntime(b *testing.B) (*linux.Runtime, runtime.Image) {
	b.Helper()
	dir, err := stateDir()
	require.NoError(b, err)
	r, err := linux.New(linux.Config{Dir: dir})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.Close()) })
	img, err := r.HostImage(b.Context())
	require.NoError(b, err)
	return r, img
}

func BenchmarkReady(b *testing.B) {
	r, img := benchRuntime(b)
	for b.Loop() {
		s, err := r.Start(b.Context(), runtime.Spec{ID: "bench", Image: img.ID, Command: []string{"sleep", "infinity"}})
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Terminate(context.Background()))
		b.StartTimer()
	}
}

func BenchmarkLife(b *testing.B) {
	r, img := benchRuntime(b)
	for b.Loop() {
		s, err := r.Start(b.Context(), runtime.Spec{ID: "bench", Image: img.ID, Command: []string{"true"}})
		require.NoError(b, err)
		<-s.Done()
	}
}

func BenchmarkExec(b *testing.B) {
	r, img := benchRuntime(b)
	s, err := r.Start(b.Context(), runtime.Spec{ID: "bench", Image: img.ID, Command: []string{"sleep", "infinity"}})
	require.NoError(b, err)
	for b.Loop() {
		p, err := s.Exec(b.Context(), runtime.ExecSpec{Args: []string{"/bin/true"}})
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, p.Stdout())
		require.NoError(b, err)
		<-p.Done()
		for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
			require.NoError(b, c.Close())
		}
	}
}

func BenchmarkOutput(b *testing.B) {
	r, img := benchRuntime(b)
	s, err := r.Start(b.Context(), runtime.Spec{ID: "bench", Image: img.ID, Command: []string{"sleep", "infinity"}})
	require.NoError(b, err)
	const size = 100 << 20
	b.SetBytes(size)
	for b.Loop() {
		p, err := s.Exec(b.Context(), runtime.ExecSpec{Args: []string{"head", "-c", "104857600", "/dev/zero"}})
		require.NoError(b, err)
		n, err := io.Copy(io.Discard, p.Stdout())
		require.NoError(b, err)
		require.EqualValues(b, size, n)
		for _, c := range []io.Closer{p.Stdin(), p.Stdout(), p.Stderr()} {
			require.NoError(b, c.Close())
		}
	}
}
