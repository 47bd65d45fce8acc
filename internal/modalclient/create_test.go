package modalclient_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
)

func TestWhatCreateSends(t *testing.T) {
	w := newWorld(t, idle())
	app, image := w.image(t)
	secret, err := w.Secret(t.Context(), map[string]string{"A": "1"})
	require.NoError(t, err)
	one, err := w.Volume(t.Context(), "one", true)
	require.NoError(t, err)
	two, err := w.Volume(t.Context(), "two", true)
	require.NoError(t, err)
	s, err := w.Create(t.Context(), app, modalclient.CreateSpec{
		Image: image, Command: []string{"sleep", "infinity"}, Secrets: []modalclient.Secret{secret},
		Timeout: 90*time.Second + time.Millisecond, IdleTimeout: 1500 * time.Millisecond, Workdir: "/workspace",
		CPU: 1.5, MemoryMiB: 256,
		Volumes:        []modalclient.Mount{{Volume: two, Path: "/two"}, {Volume: one, Path: "/one", ReadOnly: true}},
		EncryptedPorts: []int{8080}, CIDRAllowlist: []string{"10.0.0.0/8"}, Regions: []string{"us-east"},
		Verbose: true, DockerInDocker: true, Tags: map[string]string{"owner": "me"},
	})
	require.NoError(t, err)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	sent := text(t, w.request("SandboxCreate"))
	for _, part := range []string{
		`entrypoint_args:"sleep" entrypoint_args:"infinity"`, `secret_ids:"` + secret.ID + `"`, `timeout_secs:91`,
		`idle_timeout_secs:2`, `workdir:"/workspace"`, `milli_cpu:1500`, `memory_mb:256`, `open_ports:{ports:{port:8080}}`,
		`allowed_cidrs:"10.0.0.0/8"`, `regions:"us-east"`, `verbose:true`, `experimental_options:{key:"enable_docker" value:true}`,
		`volume_mounts:{volume_id:"` + one.ID + `" mount_path:"/one" allow_background_commits:true read_only:true}` +
			` volume_mounts:{volume_id:"` + two.ID + `" mount_path:"/two" allow_background_commits:true}`,
	} {
		assert.Contains(t, sent, part)
	}
	assert.Regexp(t, `name:"seer-[a-z0-9]{20,}"`, sent)

	tags, err := s.Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"owner": "me"}, tags)
	urls, err := s.Tunnels(t.Context())
	require.NoError(t, err)
	assert.Regexp(t, `^http://127(\.\d+){3}:\d+$`, urls[8080])

	other, err := w.Create(t.Context(), app, spec(image))
	require.NoError(t, err)
	var listed []string
	for info, err := range w.List(t.Context(), app, nil) {
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), info.CreatedAt, time.Minute)
		listed = append(listed, info.ID)
	}
	assert.Equal(t, []string{other.ID(), s.ID()}, listed)
	for info, err := range w.List(t.Context(), app, map[string]string{"owner": "me"}) {
		require.NoError(t, err)
		assert.Equal(t, s.ID(), info.ID)
		assert.Equal(t, map[string]string{"owner": "me"}, info.Tags)
		found, err := w.SandboxByName(t.Context(), app, info.Name)
		require.NoError(t, err)
		assert.Equal(t, s.ID(), found.ID())
	}
}

func TestAnEmptyAllowlistAllowsNothing(t *testing.T) {
	w := newWorld(t, idle())
	app, image := w.image(t)
	for want, list := range map[string][]string{"ALLOWLIST": {}, "OPEN": nil} {
		create := spec(image)
		create.CIDRAllowlist = list
		_, err := w.Create(t.Context(), app, create)
		require.NoError(t, err)
		assert.Contains(t, text(t, w.request("SandboxCreate")), "network_access:{network_access_type:"+want+"}")
	}
}

func TestNoCreateLosesItsSandbox(t *testing.T) {
	t.Parallel()
	cause := errors.New("changed my mind")
	for _, method := range []string{"SandboxCreate", "SandboxTagsSet"} {
		t.Run("cancelled in "+method, func(t *testing.T) {
			w := newWorld(t, idle())
			app, image := w.image(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			w.intercept(func(_ context.Context, call modalserver.Call) error {
				if call.Method == method {
					cancel(cause)
				}
				return nil
			})
			tagged := spec(image)
			tagged.Tags = map[string]string{"a": "b"}
			_, err := w.Create(ctx, app, tagged)
			require.ErrorIs(t, err, cause)
			assert.Empty(t, w.server.Sandboxes())
		})
	}
	t.Run("tags refused", func(t *testing.T) {
		w := newWorld(t, idle())
		app, image := w.image(t)
		bad := spec(image)
		bad.Tags = map[string]string{"not a tag": "x"}
		_, err := w.Create(t.Context(), app, bad)
		require.ErrorIs(t, err, modalclient.ErrInvalid)
		assert.Empty(t, w.server.Sandboxes())
	})
	t.Run("cancelled before", func(t *testing.T) {
		w := newWorld(t, idle())
		app, image := w.image(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := w.Create(ctx, app, spec(image))
		require.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, w.server.Sandboxes())
	})
	t.Run("no answer", func(t *testing.T) {
		w := newWorld(t, idle())
		app, image := w.image(t)
		w.intercept(func(_ context.Context, call modalserver.Call) error {
			if call.Method == "SandboxCreate" {
				return status.Error(codes.Unavailable, "connection lost")
			}
			return nil
		})
		calls := w.record(func() {
			_, err := w.Create(t.Context(), app, spec(image))
			require.EqualError(t, err, "create sandbox: connection lost")
		})
		assert.Contains(t, calls, "SandboxGetFromName", "it may exist for all we know")
	})
}

func TestReadyWaitsForCapacity(t *testing.T) {
	w := newWorld(t, idle())
	s := w.sandbox(t)
	var asked atomic.Int32
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "SandboxGetTaskId" {
			asked.Add(1)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Ready(ctx, modalclient.Queue{}), context.Canceled)
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	require.NoError(t, s.Ready(t.Context(), modalclient.Queue{}))
	assert.LessOrEqual(t, asked.Load(), int32(2), "asked again although known")
}

func TestReadyOfAnEndedSandbox(t *testing.T) {
	w := newWorld(t, idle())
	s := w.sandbox(t)
	other, err := w.Sandbox(t.Context(), s.ID())
	require.NoError(t, err)
	require.NoError(t, other.Terminate(t.Context()))
	require.NoError(t, other.Terminate(t.Context()))
	require.ErrorIs(t, s.Ready(t.Context(), modalclient.Queue{}), modalclient.ErrTerminated)
	exit, ended, err := s.Poll(t.Context())
	require.NoError(t, err)
	assert.True(t, ended)
	assert.Equal(t, modalclient.ReasonTerminated, exit.Reason)
	require.NoError(t, s.Terminate(t.Context()))
}

func TestTimeoutOfASandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, idle())
	app, image := w.image(t)
	short := spec(image)
	short.Timeout = time.Second
	s, err := w.Create(t.Context(), app, short)
	require.NoError(t, err)
	_, ended, err := s.Poll(t.Context())
	require.NoError(t, err)
	assert.False(t, ended)
	exit, err := s.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, modalclient.ReasonTimeout, exit.Reason)
	_, err = s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"true"}})
	require.ErrorIs(t, err, modalclient.ErrTerminated)
	assert.ErrorContains(t, err, "lifetime ran out")
	_, err = s.Snapshot(t.Context())
	require.ErrorIs(t, err, modalclient.ErrTerminated)
}

func TestSnapshots(t *testing.T) {
	w := newWorld(t, idle())
	s := w.sandbox(t)
	for name, take := range map[string]func() (string, error){
		"whole": func() (string, error) { return s.Snapshot(t.Context()) },
		"dir":   func() (string, error) { return s.SnapshotDir(t.Context(), "/etc") },
	} {
		id, err := take()
		require.NoError(t, err, name)
		require.NoError(t, w.ImageExists(t.Context(), id), name)
	}
}

func TestLogsEndWithTheSandbox(t *testing.T) {
	w := newWorld(t, idle())
	s := w.sandbox(t)
	w.intercept(func(_ context.Context, call modalserver.Call) error {
		if call.Method == "SandboxGetLogs" {
			go func() { _ = s.Terminate(context.Background()) }()
		}
		return nil
	})
	for _, err := range s.Logs(t.Context()) {
		require.NoError(t, err)
	}
	require.NoError(t, s.Terminate(t.Context()))
}
