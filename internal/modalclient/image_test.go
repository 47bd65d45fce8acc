package modalclient_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// builder is a runtime whose steps print themselves; "fail" fails.
type builder struct{ *scripted.Runtime }

func (b builder) Build(ctx context.Context, spec runtime.BuildSpec) (runtime.Image, error) {
	for i, step := range spec.Steps {
		line := strings.Join(step.Run, " ")
		if _, err := fmt.Fprintln(spec.Log, line); err != nil {
			return runtime.Image{}, err
		}
		if strings.Contains(line, "fail") {
			return runtime.Image{}, &runtime.StepError{Step: i, Status: runtime.ExitStatus{Code: 3}}
		}
	}
	return b.Runtime.Build(ctx, spec)
}

func TestBuildOutput(t *testing.T) {
	w := newWorld(t, builder{scripted.New(nil)})
	app, base := w.image(t)
	output := map[int]string{}
	log := func(layer int, text string) { output[layer] += text }
	layers := []modalclient.Layer{{Commands: []string{"RUN echo one", "RUN echo two"}}, {Commands: []string{"RUN echo three"}}}
	id, err := w.BuildImage(t.Context(), app, "debian:12-slim", layers, log)
	require.NoError(t, err)
	assert.Contains(t, output[0], "echo one")
	assert.Contains(t, output[0], "echo two")
	assert.Contains(t, output[1], "echo three")
	require.NoError(t, w.ImageExists(t.Context(), id))

	var again string
	calls := w.record(func() { again, err = w.BuildImage(t.Context(), app, "debian:12-slim", layers, nil) })
	require.NoError(t, err)
	assert.Equal(t, id, again)
	assert.Equal(t, []string{"ImageGetOrCreate", "ImageGetOrCreate"}, calls, "cached")

	on, err := w.BuildImage(t.Context(), app, base, []modalclient.Layer{{Commands: []string{"RUN echo on top"}}}, nil)
	require.NoError(t, err)
	assert.NotEqual(t, base, on)
	assert.Contains(t, text(t, w.request("ImageGetOrCreate")), `base_images:{image_id:"`+base+`" docker_tag:"base"} dockerfile_commands:"FROM base"`)
	same, err := w.BuildImage(t.Context(), app, base, nil, nil)
	require.NoError(t, err)
	assert.Equal(t, base, same)
}

func TestFailingBuild(t *testing.T) {
	w := newWorld(t, builder{scripted.New(nil)})
	app, err := w.App(t.Context(), "test", true)
	require.NoError(t, err)
	layers := []modalclient.Layer{{Commands: []string{"RUN echo one"}}, {Commands: []string{"RUN echo about to", "RUN fail"}}}
	_, err = w.BuildImage(t.Context(), app, "debian:12-slim", layers, nil)
	var build *modalclient.BuildError
	require.ErrorAs(t, err, &build)
	assert.Equal(t, 1, build.Layer)
	assert.Contains(t, build.Log, "about to")
	assert.NotContains(t, build.Log, "echo one")
	assert.NotContains(t, err.Error(), "rpc error")

	_, err = w.BuildImage(t.Context(), app, "debian:12-slim", []modalclient.Layer{{Commands: []string{"COPY a b"}}}, nil)
	require.ErrorIs(t, err, modalclient.ErrInvalid)
	_, err = w.BuildImage(t.Context(), app, "debian:12-slim", []modalclient.Layer{{GPU: "A100:none"}}, nil)
	require.ErrorIs(t, err, modalclient.ErrInvalid)
}

func TestBuildSurvivesLostStreamsAndEndsWithItsContext(t *testing.T) {
	w := newWorld(t, builder{scripted.New(nil)})
	app, err := w.App(t.Context(), "test", true)
	require.NoError(t, err)
	lost := 2
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "ImageJoinStreaming" && lost > 0 {
			lost--
			return status.Error(codes.Unavailable, "try again")
		}
		return nil
	})
	_, err = w.BuildImage(t.Context(), app, "debian:12-slim", []modalclient.Layer{{Commands: []string{"RUN echo a"}}}, nil)
	require.NoError(t, err)
	assert.Zero(t, lost)

	ctx, cancel := context.WithCancel(t.Context())
	w.intercept(func(ctx context.Context, call modalserver.Call) error {
		if call.Method == "ImageJoinStreaming" {
			cancel()
			<-ctx.Done()
		}
		return nil
	})
	_, err = w.BuildImage(ctx, app, "debian:12-slim", []modalclient.Layer{{Commands: []string{"RUN echo b"}}}, nil)
	require.ErrorIs(t, err, context.Canceled)
}
