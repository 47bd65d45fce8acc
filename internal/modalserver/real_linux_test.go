package modalserver

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

// realDir holds the base image of all tests here, so that it is made once.
var realDir = sync.OnceValues(func() (string, error) {
	return os.MkdirTemp(os.Getenv("SEER_TEST_DIR"), "seer-modalserver-test-")
})

func removeRealDir() error {
	dir, err := realDir()
	if err != nil {
		return err
	}
	return tree.Remove(dir)
}

// serveReal starts a server whose sandboxes are real.
func serveReal(t *testing.T) *Server {
	t.Helper()
	dir, err := realDir()
	require.NoError(t, err)
	run, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		t.Skipf("this machine cannot run sandboxes: %v", err)
	}
	return serve(t, Config{Runtime: run, StateDir: t.TempDir()})
}

// What is named nowhere but in memory ends with the server.
func TestVolumesEndWithTheirNames(t *testing.T) {
	dir, err := realDir()
	require.NoError(t, err)
	for kept, stateDir := range map[bool]string{true: t.TempDir(), false: ""} {
		run, err := linux.New(linux.Config{Dir: dir})
		if err != nil {
			t.Skipf("this machine cannot run sandboxes: %v", err)
		}
		server := serve(t, Config{Runtime: run, StateDir: stateDir})
		volume, err := dial(t, server).Volumes.FromName(t.Context(), "data", &modal.VolumeFromNameParams{CreateIfMissing: true})
		require.NoError(t, err)
		_, err = run.VolumeFS(t.Context(), volume.VolumeID)
		require.NoError(t, err)
		require.NoError(t, server.Close())
		_, err = run.VolumeFS(t.Context(), volume.VolumeID)
		assert.Equal(t, kept, err == nil, "%v", err)
	}
}

func output(t *testing.T, sb *modal.Sandbox, args ...string) string {
	t.Helper()
	p, err := sb.Exec(t.Context(), args, nil)
	require.NoError(t, err)
	var stdout, stderr []byte
	var both errgroup.Group
	both.Go(func() (err error) { stdout, err = io.ReadAll(p.Stdout); return err })
	both.Go(func() (err error) { stderr, err = io.ReadAll(p.Stderr); return err })
	require.NoError(t, both.Wait())
	code, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, code, "%q: %s", args, stderr)
	return string(stdout)
}

func TestRealImages(t *testing.T) {
	client := dial(t, serveReal(t))
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	image := client.Images.FromRegistry("debian:12-slim", nil).DockerfileCommands([]string{
		"ARG GREETING=hello",
		"ENV NAME=world WHERE=/srv/${GREETING}",
		"WORKDIR $WHERE",
		`RUN echo "$GREETING $NAME from $(pwd)" > file`,
		"ENV NAME=moon",
		`RUN ["sh", "-c", "echo $NAME >> file"]`,
		`RUN echo "${TOKEN:-no token}" >> file`,
		"COPY --from=debian:12-slim /etc/debian_version /srv/version",
		`CMD ["sleep", "1000"]`,
	}, &modal.ImageDockerfileCommandsParams{Env: map[string]string{"TOKEN": "secret"}})
	image = image.DockerfileCommands([]string{`RUN echo "${TOKEN:-no token}" >> file`, `SHELL ["/bin/bash", "-c"]`, `RUN echo $BASH >> file`}, nil)
	sb, err := client.Sandboxes.Create(t.Context(), app, image, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = sb.Detach() })
	assert.Equal(t, "hello world from /srv/hello\nmoon\nsecret\nno token\n/bin/bash\n", output(t, sb, "cat", "file"))
	assert.Equal(t, output(t, sb, "cat", "/etc/debian_version"), output(t, sb, "cat", "/srv/version"))
	assert.NotContains(t, output(t, sb, "env"), "TOKEN=")
	assert.Equal(t, "sleep\x001000\x00", output(t, sb, "sh", "-c", `for p in /proc/[0-9]*; do if grep -qz '^1000$' $p/cmdline && grep -qz '^sleep$' $p/cmdline; then cat $p/cmdline; fi; done`))
}

func TestRealBuildFailsWithItsOutput(t *testing.T) {
	server := serveReal(t)
	client := dial(t, server)
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	_, err = client.Images.FromRegistry("debian:12-slim", nil).
		DockerfileCommands([]string{"RUN true", "RUN echo the reason >&2; exit 3"}, nil).Build(t.Context(), app)
	require.ErrorContains(t, err, "RUN echo the reason >&2; exit 3: exit status 3\nthe reason\n")
	_, err = client.Images.FromRegistry("debian:12-slim", nil).DockerfileCommands([]string{"HEALTHCHECK NONE"}, nil).Build(t.Context(), app)
	assert.Equal(t, codes.InvalidArgument, status.Code(err))
	require.ErrorContains(t, err, "HEALTHCHECK")
}

func TestRealBuildsAreSharedStreamedAndKept(t *testing.T) {
	server := serveReal(t)
	client := dial(t, server)
	app, err := client.Apps.FromName(t.Context(), "test", &modal.AppFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	control, _ := stubs(t, server)
	request := pb.ImageGetOrCreateRequest_builder{AppId: app.AppID, Image: pb.Image_builder{
		DockerfileCommands: []string{"FROM debian:12-slim", "COPY data/ /srv/", "RUN cat /srv/note; date +%N > /srv/time"},
		ContextFiles:       []*pb.ImageContextFile{pb.ImageContextFile_builder{Filename: "data/note", Data: []byte("a note\n")}.Build()},
	}.Build()}
	var ids [4]string
	var all errgroup.Group
	for i := range ids {
		all.Go(func() error {
			answer, err := control.ImageGetOrCreate(t.Context(), request.Build())
			ids[i] = answer.GetImageId()
			return err
		})
	}
	require.NoError(t, all.Wait())
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
	}
	join := func(last string) (log string, entry string) {
		stream, err := control.ImageJoinStreaming(t.Context(), pb.ImageJoinStreamingRequest_builder{ImageId: ids[0], Timeout: 55, LastEntryId: last}.Build())
		require.NoError(t, err)
		for {
			message, err := stream.Recv()
			require.NoError(t, err)
			if message.GetResult() != nil {
				assert.Equal(t, pb.GenericResult_GENERIC_STATUS_SUCCESS, message.GetResult().GetStatus(), message.GetResult().GetException())
				return log, entry
			}
			entry = message.GetEntryId()
			for _, line := range message.GetTaskLogs() {
				log += line.GetData()
			}
		}
	}
	log, entry := join("")
	assert.Equal(t, "a note\n", log)
	log, _ = join(entry)
	assert.Empty(t, log, "what a client has seen is not sent again")

	cached, err := control.ImageGetOrCreate(t.Context(), request.Build())
	require.NoError(t, err)
	assert.Equal(t, ids[0], cached.GetImageId())
	assert.Equal(t, pb.GenericResult_GENERIC_STATUS_SUCCESS, cached.GetResult().GetStatus())

	request.ForceBuild = true
	forced, err := control.ImageGetOrCreate(t.Context(), request.Build())
	require.NoError(t, err)
	assert.NotEqual(t, ids[0], forced.GetImageId())
	ids[0] = forced.GetImageId()
	join("")

	record, err := server.findImage(forced.GetImageId())
	require.NoError(t, err)
	require.NoError(t, server.runtime.RemoveImage(t.Context(), record.Runtime), "behind the server's back")
	request.ForceBuild = false
	rebuilt, err := control.ImageGetOrCreate(t.Context(), request.Build())
	require.NoError(t, err)
	assert.NotEqual(t, forced.GetImageId(), rebuilt.GetImageId())
	ids[0] = rebuilt.GetImageId()
	join("")
}

func TestRealExecs(t *testing.T) {
	t.Parallel()
	sb := start(t, dial(t, serveReal(t)), nil)
	for name, test := range map[string]struct {
		args   []string
		params modal.SandboxExecParams
		want   string
	}{
		"a program that does not exist": {args: []string{"no-such-program"}, want: "no-such-program"},
		"a directory that does not":     {args: []string{"true"}, params: modal.SandboxExecParams{Workdir: "/no/such/dir"}, want: "/no/such/dir"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sb.Exec(t.Context(), test.args, &test.params)
			assert.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
			require.ErrorContains(t, err, test.want)
		})
	}
	assert.Len(t, output(t, sb, "head", "-c", "20000000", "/dev/zero"), 20_000_000)
	p, err := sb.Exec(t.Context(), []string{"sh", "-c", "kill -TERM $$"}, nil)
	require.NoError(t, err)
	code, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 128+15, code)
	p, err = sb.Exec(t.Context(), []string{"tty"}, &modal.SandboxExecParams{PTY: true})
	require.NoError(t, err)
	terminal, err := io.ReadAll(p.Stdout)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(terminal), "/dev/pts/"), "%q", terminal)
}

func TestRealSandboxEndsUnderAnExec(t *testing.T) {
	client := dial(t, serveReal(t))
	sb := start(t, client, &modal.SandboxCreateParams{Command: []string{"sh", "-c", "read line; exit 7"}})
	p, err := sb.Exec(t.Context(), []string{"sleep", "1000"}, nil)
	require.NoError(t, err)
	_, err = sb.Stdin.Write([]byte("go\n"))
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	assert.Equal(t, codes.FailedPrecondition, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "reason=exited")
	code, err := sb.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 7, code)
}

func TestRealFilesVolumesAndSnapshots(t *testing.T) {
	client := dial(t, serveReal(t))
	volume, err := client.Volumes.FromName(t.Context(), "files", &modal.VolumeFromNameParams{CreateIfMissing: true})
	require.NoError(t, err)
	sb := start(t, client, &modal.SandboxCreateParams{Volumes: map[string]*modal.Volume{"/data": volume}})
	file, err := sb.Open(t.Context(), "/srv/note", "w")
	require.NoError(t, err)
	_, err = file.Write([]byte("first\nsecond\n"))
	require.NoError(t, err)
	require.NoError(t, file.Flush())
	require.NoError(t, file.Close())
	relative, err := sb.Open(t.Context(), "tmp/note", "w") // of the working directory, which is the root
	require.NoError(t, err)
	require.NoError(t, relative.Close())
	assert.Equal(t, "/tmp/note\n", output(t, sb, "ls", "/tmp/note"))
	_, err = sb.Open(t.Context(), "/srv/none", "r")
	require.ErrorContains(t, err, "/srv/none")
	assert.Equal(t, "first\nsecond\n", output(t, sb, "sh", "-c", "mkdir /data/dir; cp /srv/note /data/dir; cat /srv/note"))

	image, err := sb.SnapshotFilesystem(t.Context(), time.Minute)
	require.NoError(t, err)
	app, err := client.Apps.FromName(t.Context(), "test", nil)
	require.NoError(t, err)
	readOnly := &modal.SandboxCreateParams{Volumes: map[string]*modal.Volume{"/data": volume.ReadOnly()}}
	again, err := client.Sandboxes.Create(t.Context(), app, image, readOnly)
	require.NoError(t, err)
	t.Cleanup(func() { _ = again.Detach() })
	assert.Equal(t, "first\nsecond\nfirst\nsecond\n", output(t, again, "cat", "/srv/note", "/data/dir/note"))
	p, err := again.Exec(t.Context(), []string{"touch", "/data/new"}, nil)
	require.NoError(t, err)
	complaint, err := io.ReadAll(p.Stderr)
	require.NoError(t, err)
	assert.Contains(t, string(complaint), "Read-only file system")
}

func TestRealVolumeFiles(t *testing.T) {
	server := serveReal(t)
	client := dial(t, server)
	volume, err := client.Volumes.Ephemeral(t.Context(), nil)
	require.NoError(t, err)
	defer volume.CloseEphemeral()
	sb := start(t, client, &modal.SandboxCreateParams{Volumes: map[string]*modal.Volume{"/data": volume}})
	output(t, sb, "sh", "-c", "mkdir -p /data/a/b; printf 0123456789 > /data/a/b/file; ln -s a /data/link")
	control, _ := stubs(t, server)
	list := func(request pb.VolumeListFilesRequest_builder) (entries []string) {
		request.VolumeId = volume.VolumeID
		stream, err := control.VolumeListFiles(t.Context(), request.Build())
		require.NoError(t, err)
		for {
			message, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return entries
			}
			require.NoError(t, err)
			for _, entry := range message.GetEntries() {
				entries = append(entries, entry.GetType().String()+" "+entry.GetPath())
			}
		}
	}
	assert.Equal(t, []string{"DIRECTORY a", "SYMLINK link"}, list(pb.VolumeListFilesRequest_builder{Path: "/"}))
	assert.Equal(t, []string{"DIRECTORY a/b", "FILE a/b/file"}, list(pb.VolumeListFilesRequest_builder{Path: "a", Recursive: true}))
	part, err := control.VolumeGetFile(t.Context(), pb.VolumeGetFileRequest_builder{VolumeId: volume.VolumeID, Path: "/a/b/file", Start: 3, Len: 4}.Build())
	require.NoError(t, err)
	assert.Equal(t, "3456", string(part.GetData()))
	assert.EqualValues(t, 10, part.GetSize())
	_, err = control.VolumeGetFile(t.Context(), pb.VolumeGetFileRequest_builder{VolumeId: volume.VolumeID, Path: "../../etc/passwd"}.Build())
	assert.Equal(t, codes.NotFound, status.Code(err))
}
