package scripted_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, r *scripted.Runtime, config runtime.ImageConfig) runtime.Sandbox {
	t.Helper()
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	base, err := r.Pull(t.Context(), "debian:12-slim", runtime.PullOptions{})
	require.NoError(t, err)
	image, err := r.Build(t.Context(), runtime.BuildSpec{Base: base.ID, Config: config})
	require.NoError(t, err)
	sandbox, err := r.Start(t.Context(), runtime.Spec{ID: "sb-1", Image: image.ID, Env: []string{"B=sandbox"}})
	require.NoError(t, err)
	return sandbox
}

func TestHandlerPlaysACommand(t *testing.T) {
	sandbox := start(t, scripted.New(func(_ context.Context, e scripted.Exec) scripted.Result {
		input, err := io.ReadAll(e.Stdin)
		fmt.Fprintf(e.Stdout, "%s %v %v %s %s %v", e.SandboxID, e.Args, e.Env, e.Dir, input, err)
		fmt.Fprint(e.Stderr, "careful")
		return scripted.Result{Code: 3}
	}), runtime.ImageConfig{Env: []string{"A=image"}, Workdir: "/srv"})
	p, err := sandbox.Exec(t.Context(), runtime.ExecSpec{Args: []string{"run", "it"}, Env: []string{"C=exec"}, DiscardStderr: true})
	require.NoError(t, err)
	assert.True(t, sandbox.Busy())
	_, err = io.WriteString(p.Stdin(), "input")
	require.NoError(t, err)
	require.NoError(t, p.Stdin().Close())
	stdout, err := io.ReadAll(p.Stdout())
	require.NoError(t, err)
	assert.Equal(t, "sb-1 [run it] [A=image B=sandbox C=exec] /srv input <nil>", string(stdout))
	stderr, err := io.ReadAll(p.Stderr())
	require.NoError(t, err)
	assert.Empty(t, stderr)
	assert.Equal(t, runtime.ExitStatus{Code: 3}, p.Status())
}

func TestSignalsAndTheEndKill(t *testing.T) {
	sandbox := start(t, scripted.New(func(ctx context.Context, _ scripted.Exec) scripted.Result {
		<-ctx.Done()
		return scripted.Result{}
	}), runtime.ImageConfig{})
	spec := runtime.ExecSpec{Args: []string{"hang"}}
	signalled, err := sandbox.Exec(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, signalled.Signal(15))
	assert.Equal(t, runtime.ExitStatus{Signal: 15}, signalled.Status())
	killed, err := sandbox.Exec(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, sandbox.Terminate(t.Context()))
	require.NoError(t, sandbox.Terminate(t.Context()))
	<-sandbox.Done()
	assert.Equal(t, runtime.ExitStatus{Signal: 9}, killed.Status())
	assert.Equal(t, runtime.ExitStatus{Signal: 9}, sandbox.Main().Status())
	assert.False(t, sandbox.Busy())
	_, err = sandbox.Exec(t.Context(), spec)
	require.ErrorIs(t, err, runtime.ErrEnded)
}

func TestSandboxEndsWithItsMainProcess(t *testing.T) {
	sandbox := start(t, scripted.New(nil), runtime.ImageConfig{})
	require.NoError(t, sandbox.Main().Signal(15))
	<-sandbox.Done()
	assert.Equal(t, runtime.ExitStatus{Signal: 15}, sandbox.Main().Status())
}

func TestWhatIsNotThere(t *testing.T) {
	r := scripted.New(nil)
	sandbox := start(t, r, runtime.ImageConfig{})
	_, err := sandbox.Dial(t.Context(), 80)
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	_, err = sandbox.Files().Stat(t.Context(), "/")
	require.ErrorIs(t, err, runtime.ErrUnsupported)
	require.ErrorIs(t, sandbox.MountImage(t.Context(), "/mnt", "none"), runtime.ErrNotFound)
	_, err = r.Start(t.Context(), runtime.Spec{ID: "sb-2", Image: "none"})
	require.ErrorIs(t, err, runtime.ErrNotFound)
	_, err = r.VolumeFS(t.Context(), "none")
	require.ErrorIs(t, err, runtime.ErrNotFound)
}

func TestDialer(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	sandbox := start(t, scripted.New(nil, scripted.WithDialer(func(_ context.Context, id string, port uint16) (net.Conn, error) {
		assert.Equal(t, "sb-1", id)
		assert.EqualValues(t, 80, port)
		return here, nil
	})), runtime.ImageConfig{})
	got, err := sandbox.Dial(t.Context(), 80)
	require.NoError(t, err)
	assert.Equal(t, here, got)
}
