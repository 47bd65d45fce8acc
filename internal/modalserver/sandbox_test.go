package modalserver

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func TestWhatCreateRefuses(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	image, err := client.Images.FromRegistry("debian:12-slim", nil).Build(t.Context(), app)
	require.NoError(t, err)
	control, _ := stubs(t, server)
	for _, test := range []struct {
		name       string
		definition pb.Sandbox_builder
		code       codes.Code
		message    string
	}{
		{"GPU", pb.Sandbox_builder{Resources: pb.Resources_builder{GpuConfig: pb.GPUConfig_builder{GpuType: "H100", Count: 1}.Build()}.Build()},
			codes.FailedPrecondition, "no GPU on this host: H100"},
		{"timeout", pb.Sandbox_builder{TimeoutSecs: 24*3600 + 1}, codes.InvalidArgument, "24 hours"},
		{"workdir", pb.Sandbox_builder{Workdir: proto.String("relative")}, codes.InvalidArgument, "absolute"},
		{"name", pb.Sandbox_builder{Name: proto.String("a b")}, codes.InvalidArgument, "invalid sandbox name"},
		{"cloud", pb.Sandbox_builder{CloudProviderStr: "invalid-cloud"}, codes.InvalidArgument, "invalid-cloud"},
		{"region", pb.Sandbox_builder{SchedulerPlacement: pb.SchedulerPlacement_builder{Regions: []string{"invalid-region"}}.Build()},
			codes.InvalidArgument, "invalid-region"},
		{"CIDR", pb.Sandbox_builder{NetworkAccess: pb.NetworkAccess_builder{
			NetworkAccessType: pb.NetworkAccess_ALLOWLIST, AllowedCidrs: []string{"not-an-ip/8"}}.Build()},
			codes.InvalidArgument, "Invalid CIDR: not-an-ip/8"},
		{"ports without a network", pb.Sandbox_builder{BlockNetwork: true,
			OpenPorts: pb.PortSpecs_builder{Ports: []*pb.PortSpec{pb.PortSpec_builder{Port: 80}.Build()}}.Build()},
			codes.InvalidArgument, "network is blocked"},
		{"port", pb.Sandbox_builder{OpenPorts: pb.PortSpecs_builder{Ports: []*pb.PortSpec{pb.PortSpec_builder{Port: 70000}.Build()}}.Build()},
			codes.InvalidArgument, "70000"},
		{"volume", pb.Sandbox_builder{VolumeMounts: []*pb.VolumeMount{pb.VolumeMount_builder{VolumeId: "vo-none", MountPath: "/v"}.Build()}},
			codes.NotFound, "vo-none"},
		{"mount point", pb.Sandbox_builder{VolumeMounts: []*pb.VolumeMount{pb.VolumeMount_builder{VolumeId: "vo-none", MountPath: "v"}.Build()}},
			codes.InvalidArgument, "absolute path"},
		{"secret", pb.Sandbox_builder{SecretIds: []string{"st-none"}}, codes.NotFound, "st-none"},
		{"proxy", pb.Sandbox_builder{ProxyId: proto.String("pr-none")}, codes.NotFound, "pr-none"},
		{"option", pb.Sandbox_builder{ExperimentalOptions: map[string]bool{"warp_drive": true}}, codes.Unimplemented, "warp_drive"},
		{"buckets", pb.Sandbox_builder{CloudBucketMounts: []*pb.CloudBucketMount{{}}}, codes.Unimplemented, "cloud bucket mounts"},
		{"image", pb.Sandbox_builder{ImageId: "im-none"}, codes.NotFound, "im-none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.definition.ImageId == "" {
				test.definition.ImageId = image.ImageID
			}
			_, err := control.SandboxCreate(t.Context(), pb.SandboxCreateRequest_builder{AppId: app.AppID, Definition: test.definition.Build()}.Build())
			assert.Equal(t, test.code, status.Code(err), "%v", err)
			require.ErrorContains(t, err, test.message)
		})
	}
	_, err = control.SandboxCreate(t.Context(), pb.SandboxCreateRequest_builder{AppId: "ap-none", Definition: &pb.Sandbox{}}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err))
	assert.Empty(t, server.Sandboxes())
}

func TestNames(t *testing.T) {
	client := dial(t, serve(t, Config{}))
	named := &modal.SandboxCreateParams{Name: "the-one"}
	sb := start(t, client, named)
	_, err := tryStart(t, client, named)
	var exists modal.AlreadyExistsError
	require.ErrorAs(t, err, &exists)
	found, err := client.Sandboxes.FromName(t.Context(), "test", "the-one", nil)
	require.NoError(t, err)
	assert.Equal(t, sb.SandboxID, found.SandboxID)
	_, err = sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	_, err = client.Sandboxes.FromName(t.Context(), "test", "the-one", nil)
	var missing modal.NotFoundError
	require.ErrorAs(t, err, &missing)
	start(t, client, named)
}

func TestTagsAndLists(t *testing.T) {
	const many = listPage + 5
	client := dial(t, serve(t, Config{}))
	var newest []string
	for n := range many {
		sb := start(t, client, nil)
		newest = append([]string{sb.SandboxID}, newest...)
		if n == 3 {
			require.NoError(t, sb.SetTags(t.Context(), map[string]string{"kind": "third", "who": "me"}))
			tags, err := sb.GetTags(t.Context())
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"kind": "third", "who": "me"}, tags)
		}
		if n == 4 {
			require.Error(t, sb.SetTags(t.Context(), map[string]string{"white space": "x"}))
			_, err := sb.Terminate(t.Context(), nil)
			require.NoError(t, err)
		}
	}
	list := func(params modal.SandboxListParams) (ids []string) {
		all, err := client.Sandboxes.List(t.Context(), &params)
		require.NoError(t, err)
		for sb, err := range all {
			require.NoError(t, err)
			ids = append(ids, sb.SandboxID)
		}
		return ids
	}
	running := append(append([]string(nil), newest[:many-5]...), newest[many-4:]...)
	assert.Equal(t, running, list(modal.SandboxListParams{}))
	third := newest[many-4]
	assert.Equal(t, []string{third}, list(modal.SandboxListParams{Tags: map[string]string{"kind": "third"}}))
	assert.Empty(t, list(modal.SandboxListParams{Tags: map[string]string{"kind": "third", "who": "you"}}))
	assert.Empty(t, list(modal.SandboxListParams{AppID: "ap-none"}))
	assert.Empty(t, list(modal.SandboxListParams{Environment: "another"}))
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	server := serve(t, Config{})
	client := dial(t, server)
	for name, test := range map[string]struct {
		params modal.SandboxCreateParams
		status pb.GenericResult_GenericStatus
		reason ending
	}{
		"timeout":      {modal.SandboxCreateParams{Timeout: time.Second}, pb.GenericResult_GENERIC_STATUS_TIMEOUT, endedTimeout},
		"idle timeout": {modal.SandboxCreateParams{IdleTimeout: time.Second}, pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT, endedIdle},
	} {
		t.Run(name, func(t *testing.T) {
			sb := start(t, client, &test.params)
			ctx, task := router(t, server, sb.SandboxID)
			poll, err := sb.Poll(t.Context())
			require.NoError(t, err)
			assert.Nil(t, poll)
			code, err := sb.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 124, code)
			control, stub := stubs(t, server)
			waited, err := control.SandboxWait(t.Context(), pb.SandboxWaitRequest_builder{SandboxId: sb.SandboxID}.Build())
			require.NoError(t, err)
			assert.Equal(t, test.status, waited.GetResult().GetStatus())
			_, err = stub.TaskExecStart(ctx, pb.TaskExecStartRequest_builder{TaskId: task, ExecId: "x", CommandArgs: []string{"echo"}}.Build())
			require.ErrorContains(t, err, "reason="+string(test.reason))
		})
	}
}

func TestABusySandboxIsNotIdle(t *testing.T) {
	t.Parallel()
	server := serve(t, Config{})
	sb := start(t, dial(t, server), &modal.SandboxCreateParams{IdleTimeout: time.Second})
	p, err := sb.Exec(t.Context(), []string{"cat"}, nil)
	require.NoError(t, err)
	known, err := server.find(sb.SandboxID)
	require.NoError(t, err)
	started := known.lastActive()
	require.Eventually(t, func() bool { return known.lastActive().Sub(started) > 1500*time.Millisecond }, 10*time.Second, 20*time.Millisecond)
	assert.False(t, known.over())
	require.NoError(t, p.Stdin.Close())
	code, err := sb.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 124, code)
}

func TestEndedSandboxesAreForgottenInTime(t *testing.T) {
	server := serve(t, Config{})
	client := dial(t, server)
	sb := start(t, client, nil)
	_, err := sb.Terminate(t.Context(), nil)
	require.NoError(t, err)
	server.sweep(time.Now())
	again, err := client.Sandboxes.FromID(t.Context(), sb.SandboxID)
	require.NoError(t, err)
	code, err := again.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 137, code)
	server.sweep(time.Now().Add(2 * sandboxMemory))
	_, err = client.Sandboxes.FromID(t.Context(), sb.SandboxID)
	require.Error(t, err)
}

func TestSnapshotsAreImages(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, Config{StateDir: dir})
	client := dial(t, server)
	sb := start(t, client, nil)
	image, err := sb.SnapshotFilesystem(t.Context(), time.Minute)
	require.NoError(t, err)
	part, err := sb.SnapshotDirectory(t.Context(), "/srv")
	require.NoError(t, err)
	require.NoError(t, sb.MountImage(t.Context(), "/mnt", part))
	require.NoError(t, sb.MountImage(t.Context(), "/mnt", nil))
	app, err := client.Apps.FromName(t.Context(), "test", nil)
	require.NoError(t, err)
	_, err = client.Sandboxes.Create(t.Context(), app, image, nil)
	require.NoError(t, err)
	require.NoError(t, client.Images.Delete(t.Context(), image.ImageID, nil))
	_, err = client.Images.FromID(t.Context(), image.ImageID)
	require.Error(t, err)
}

func TestFilesOfARuntimeWithoutAny(t *testing.T) {
	sb := start(t, dial(t, serve(t, Config{})), nil)
	_, err := sb.Open(t.Context(), "/etc/passwd", "r")
	assert.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
}

func TestLogsKeepCharactersWhole(t *testing.T) {
	for text, want := range map[string]int{
		"":          0,
		"plain":     5,
		"caf\xc3":   3,
		"café":      5,
		"\xe2\x82":  0,
		"x\xe2\x82": 1,
		"€":         3,
		"\xff\xfe":  2,
		"\x80\x80":  2,
	} {
		assert.Equal(t, want, wholeRunes([]byte(text)), "%q", text)
	}
}

func TestVolumesByName(t *testing.T) {
	dir := t.TempDir()
	first := serve(t, Config{StateDir: dir})
	client := dial(t, first)
	_, err := client.Volumes.FromName(t.Context(), "models", nil)
	var missing modal.NotFoundError
	require.ErrorAs(t, err, &missing)
	volume, err := client.Volumes.FromName(t.Context(), "models", &modal.VolumeFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	require.NoError(t, first.Close())

	control, _ := stubs(t, serve(t, Config{StateDir: dir}))
	again, err := control.VolumeGetOrCreate(t.Context(), pb.VolumeGetOrCreateRequest_builder{DeploymentName: "models"}.Build())
	require.NoError(t, err)
	assert.Equal(t, volume.VolumeID, again.GetVolumeId(), "the name outlives the server")
	_, err = control.VolumeRename(t.Context(), pb.VolumeRenameRequest_builder{VolumeId: volume.VolumeID, Name: "weights"}.Build())
	require.NoError(t, err)
	_, err = control.VolumeGetOrCreate(t.Context(), pb.VolumeGetOrCreateRequest_builder{DeploymentName: "models"}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err))
	list, err := control.VolumeList(t.Context(), &pb.VolumeListRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetItems(), 1)
	assert.Equal(t, "weights", list.GetItems()[0].GetLabel())
	_, err = control.VolumeGetFile(t.Context(), pb.VolumeGetFileRequest_builder{VolumeId: volume.VolumeID, Path: "none"}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err))
	_, err = control.VolumeDelete(t.Context(), pb.VolumeDeleteRequest_builder{VolumeId: volume.VolumeID}.Build())
	require.NoError(t, err)
	_, err = control.VolumeGetOrCreate(t.Context(), pb.VolumeGetOrCreateRequest_builder{DeploymentName: "weights"}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err))
}

func TestVolumesWithoutANameLiveOnHeartbeats(t *testing.T) {
	server := serve(t, Config{})
	control, _ := stubs(t, server)
	volume, err := control.VolumeGetOrCreate(t.Context(), pb.VolumeGetOrCreateRequest_builder{
		ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL,
	}.Build())
	require.NoError(t, err)
	beat := func() error {
		_, err := control.VolumeHeartbeat(t.Context(), pb.VolumeHeartbeatRequest_builder{VolumeId: volume.GetVolumeId()}.Build())
		return err
	}
	server.sweep(time.Now())
	require.NoError(t, beat())
	server.sweep(time.Now().Add(2 * ephemeralVolumeLife))
	assert.Equal(t, codes.NotFound, status.Code(beat()))
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, Config{StateDir: dir, Secrets: map[string]map[string]string{"configured": {"A": "1"}}})
	client := dial(t, server)
	_, err := client.Secrets.FromName(t.Context(), "configured", &modal.SecretFromNameParams{RequiredKeys: []string{"A", "B", "C"}})
	require.ErrorContains(t, err, "Secret is missing key(s): B, C")
	ephemeral, err := client.Secrets.FromMap(t.Context(), map[string]string{"TOKEN": "never-on-disk"}, nil)
	require.NoError(t, err)
	control, _ := stubs(t, server)
	named, err := control.SecretGetOrCreate(t.Context(), pb.SecretGetOrCreateRequest_builder{
		DeploymentName:     "kept",
		ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
		EnvDict:            map[string]string{"KEY": "value"},
	}.Build())
	require.NoError(t, err)

	later := serve(t, Config{StateDir: dir})
	env, err := later.environ([]string{named.GetSecretId()})
	require.NoError(t, err)
	assert.Equal(t, []string{"KEY=value"}, env)
	_, err = later.environ([]string{ephemeral.SecretID})
	assert.Equal(t, codes.NotFound, status.Code(err), "a secret without a name ends with the server")
	assert.NotContains(t, everything(t, dir), "never-on-disk")

	list, err := control.SecretList(t.Context(), &pb.SecretListRequest{})
	require.NoError(t, err)
	var labels []string
	for _, item := range list.GetItems() {
		labels = append(labels, item.GetLabel())
	}
	assert.Equal(t, []string{"configured", "kept"}, labels)
	require.NoError(t, client.Secrets.Delete(t.Context(), "kept", nil))
	require.Error(t, client.Secrets.Delete(t.Context(), "configured", nil))
}

// everything reads all files below a directory.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if runtime.GOOS != "windows" {
			assert.Zero(t, info.Mode().Perm()&0o077, "%s is for its owner alone", path)
		}
		data, err := os.ReadFile(path)
		all.Write(data)
		return err
	}))
	require.NotEmpty(t, all.String())
	return all.String()
}
