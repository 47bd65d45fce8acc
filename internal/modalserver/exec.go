package modalserver

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/newer"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const (
	sigkill = 9

	// execKillDelay is how long after its timeout an exec is killed: a client's
	// own deadline, which it counts from a little later, must come first.
	execKillDelay = 100 * time.Millisecond
	// execMemory is how long the output of an exec that has ended can be read.
	execMemory = 5 * time.Minute
	// keptExecs is how many execs of a sandbox can still be asked about that
	// have ended, been waited for and been read. Older ones are forgotten at once.
	keptExecs = 64
	// maxExecs is how many a sandbox can have, those that are remembered included:
	// of the ones that ended half of that.
	maxExecs = 4096
)

// exec is a command in a sandbox, also after its end.
type exec struct {
	sandbox *sandbox
	started chan struct{} // closed when the fields down to err are final
	process runtime.Process
	stdin   *stdin
	stdout  *spool
	stderr  *spool
	err     error // why it did not start

	done   chan struct{} // closed when the fields below are final
	status runtime.ExitStatus
	lost   bool // the sandbox ended under it
	ended  time.Time

	told atomic.Bool // a client knows how it ended
}

// TaskExecStart starts a command. Repeated with the same exec ID it changes nothing.
func (s *Server) TaskExecStart(ctx context.Context, r *pb.TaskExecStartRequest) (*pb.TaskExecStartResponse, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if r.GetExecId() == "" || len(r.GetCommandArgs()) == 0 {
		return nil, invalid("an exec needs an ID and a command")
	}
	sb.mu.Lock()
	e, known := sb.execs[r.GetExecId()]
	if !known && len(sb.execs) >= maxExecs {
		sb.mu.Unlock()
		return nil, status.Errorf(codes.ResourceExhausted, "sandbox %s has %d commands, the most it can have at once", sb.id, maxExecs)
	}
	if !known {
		e = &exec{sandbox: sb, started: make(chan struct{}), done: make(chan struct{})}
		sb.execs[r.GetExecId()] = e
	}
	sb.mu.Unlock()
	if !known {
		begun := s.begin(func() { e.start(context.WithoutCancel(ctx), s, r) })
		if !begun {
			e.fail(errClosing())
		}
	}
	select {
	case <-e.started:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if e.err != nil {
		return nil, e.err
	}
	return &pb.TaskExecStartResponse{}, nil
}

// start runs the command and then sees it through to its end.
func (e *exec) start(ctx context.Context, s *Server, r *pb.TaskExecStartRequest) {
	process, err := e.launch(ctx, s, r)
	if err != nil {
		e.fail(err)
		return
	}
	e.process = process
	e.stdin = newStdin(process.Stdin())
	e.stdout, e.stderr = newSpool(e.sandbox.pool, false), newSpool(e.sandbox.pool, false)
	if r.GetStderrConfig() == pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_STDOUT {
		e.stderr = e.stdout
	}
	var timeout <-chan time.Time
	if r.HasTimeoutSecs() {
		timer := time.NewTimer(time.Duration(r.GetTimeoutSecs())*time.Second + execKillDelay)
		defer timer.Stop()
		timeout = timer.C
	}
	close(e.started)
	e.watch(s, timeout)
}

func (e *exec) fail(err error) {
	e.err = err
	e.ended = time.Now()
	close(e.done)
	close(e.started)
	e.sandbox.forgetExecs()
}

func (e *exec) launch(ctx context.Context, s *Server, r *pb.TaskExecStartRequest) (runtime.Process, error) {
	if err := e.sandbox.alive(); err != nil {
		return nil, err
	}
	since := &newer.TaskExecStartFields{}
	if err := fieldsSince(r, since); err != nil {
		return nil, err
	}
	if since.GetContainerId() != "" {
		return nil, errSidecar("TaskExecStart")
	}
	sources, err := s.envSources(since.GetSecretSources())
	if err != nil {
		return nil, err
	}
	env, err := s.environ(r.GetSecretIds(), append(sources, since.GetEnv())...)
	if err != nil {
		return nil, err
	}
	process, err := e.sandbox.run.Exec(ctx, runtime.ExecSpec{
		Args:          r.GetCommandArgs(),
		Env:           append(env, ptyEnv(r.GetPtyInfo())...),
		Workdir:       r.GetWorkdir(),
		PTY:           ptyOf(r.GetPtyInfo()),
		DiscardStdout: r.GetStdoutConfig() == pb.TaskExecStdoutConfig_TASK_EXEC_STDOUT_CONFIG_DEVNULL,
		DiscardStderr: r.GetStderrConfig() == pb.TaskExecStderrConfig_TASK_EXEC_STDERR_CONFIG_DEVNULL,
	})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, invalid("start command: %v", err)
	case err != nil:
		return nil, e.sandbox.answer("start command", err)
	}
	return process, nil
}

// watch moves the command's streams and waits for its end.
func (e *exec) watch(s *Server, timeout <-chan time.Time) {
	s.begin(e.stdin.pump)
	if e.stdout == e.stderr {
		s.begin(func() { e.stdout.fill(e.process.Stdout(), e.process.Stderr()) })
	} else {
		s.begin(func() { e.stdout.fill(e.process.Stdout()) })
		s.begin(func() { e.stderr.fill(e.process.Stderr()) })
	}
	timedOut := false
	for running := true; running; {
		select {
		case <-e.process.Done():
			running = false
		case <-e.sandbox.run.Done():
			running = false
		case <-timeout:
			timedOut = true
			if err := e.process.Signal(sigkill); err != nil {
				s.log.WarnContext(s.ctx, "exec outlives its timeout", "sandbox", e.sandbox.id, "error", err)
			}
		}
	}
	e.stdin.stop()
	e.stdout.closing()
	e.stderr.closing()
	e.lost = e.isLost(timedOut)
	if e.lost {
		<-e.sandbox.done
		e.stdout.end(e.sandbox.ended())
		e.stderr.end(e.sandbox.ended())
	} else {
		e.status = e.process.Status()
	}
	e.ended = time.Now()
	close(e.done)
	e.sandbox.forgetExecs()
}

// isLost tells a command that ended from one whose sandbox ended under it. Only
// the latter's status means nothing. When a sandbox dies its commands are
// killed, perhaps before anything else shows: so a kill that nobody here asked
// for gets a moment to prove that it was not that.
func (e *exec) isLost(timedOut bool) bool {
	select {
	case <-e.process.Done():
	default:
		return true
	}
	if exit := e.process.Status(); timedOut || exit.OOM || exit.Signal != sigkill {
		return false
	}
	if e.sandbox.lost() {
		return true
	}
	grace := time.NewTimer(lossGrace)
	defer grace.Stop()
	select {
	case <-e.sandbox.commandDone():
		return true
	case <-e.sandbox.run.Done():
		return true
	case <-grace.C:
		return false
	}
}

// complete tells a reader at the end of the output whether it is complete. The
// streams of a command that dies with its sandbox end a little before anybody
// knows why.
func (e *exec) complete(ctx context.Context) error {
	grace := time.NewTimer(2 * lossGrace)
	defer grace.Stop()
	select {
	case <-e.done:
		if e.lost {
			return e.sandbox.ended()
		}
	case <-grace.C: // it closed its output and runs on
	case <-ctx.Done():
	}
	return nil
}

// settled reports whether the command has ended, a client knows how, and all of
// its output has been read.
func (e *exec) settled() bool {
	return e.over() && (e.err != nil || e.told.Load() && e.stdout.settled() && e.stderr.settled())
}

// over reports whether the command has ended.
func (e *exec) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func (e *exec) release() {
	if e.stdout != nil {
		e.stdout.release()
		e.stderr.release()
	}
}

// findExec returns a command that has started.
func (s *Server) findExec(ctx context.Context, taskID, execID string) (*exec, error) {
	sb, err := s.findTask(taskID)
	if err != nil {
		return nil, err
	}
	sb.mu.Lock()
	e, ok := sb.execs[execID]
	sb.mu.Unlock()
	if !ok {
		return nil, status.Errorf(codes.NotFound, "exec %s not found", execID)
	}
	select {
	case <-e.started:
		return e, e.err
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// TaskExecStdinWrite passes input to a command. What the server has seen of it is dropped.
func (s *Server) TaskExecStdinWrite(ctx context.Context, r *pb.TaskExecStdinWriteRequest) (*pb.TaskExecStdinWriteResponse, error) {
	e, err := s.findExec(ctx, r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	e.sandbox.touch()
	if err := e.stdin.writeAt(ctx, r.GetOffset(), r.GetData(), r.GetEof()); err != nil {
		return nil, err
	}
	return &pb.TaskExecStdinWriteResponse{}, nil
}

// TaskExecStdioRead streams what a command writes, from any offset, also after its end.
func (s *Server) TaskExecStdioRead(r *pb.TaskExecStdioReadRequest, stream grpc.ServerStreamingServer[pb.TaskExecStdioReadResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	e, err := s.findExec(ctx, r.GetTaskId(), r.GetExecId())
	if err != nil {
		return err
	}
	output := e.stdout
	if r.GetFileDescriptor() == pb.TaskExecStdioFileDescriptor_TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR {
		output = e.stderr
	}
	// From here on a client knows silence from a connection that is slow to come.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	offset := int64(r.GetOffset())
	buffer := make([]byte, chunkSize)
	for {
		n, next, err := output.read(ctx, buffer, offset)
		switch {
		case errors.Is(err, io.EOF):
			return e.complete(ctx)
		case errors.Is(err, errNegative):
			return invalid("exec %s: offset %d is too large", r.GetExecId(), r.GetOffset())
		case errors.Is(err, errReleased):
			return status.Errorf(codes.NotFound, "exec %s: %v", r.GetExecId(), err)
		case err != nil && s.ctx.Err() != nil:
			return errClosing()
		case errors.Is(err, errNotKept):
			return status.Error(codes.DataLoss, err.Error())
		case err != nil:
			if _, isStatus := status.FromError(err); isStatus {
				return err
			}
			return e.sandbox.answer("read output", err)
		}
		if err := stream.Send(pb.TaskExecStdioReadResponse_builder{Data: buffer[:n]}.Build()); err != nil {
			return err
		}
		offset = next
	}
}

// TaskExecWait waits for a command to end.
func (s *Server) TaskExecWait(ctx context.Context, r *pb.TaskExecWaitRequest) (*pb.TaskExecWaitResponse, error) {
	e, err := s.findExec(ctx, r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	if err := e.killLeftovers(ctx); err != nil {
		return nil, e.sandbox.answer("wait for command", err)
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	e.told.Store(true)
	if e.lost {
		return nil, e.sandbox.ended()
	}
	code, signal := exitOf(e.status)
	return pb.TaskExecWaitResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// TaskExecPoll tells whether a command has ended, and how.
func (s *Server) TaskExecPoll(ctx context.Context, r *pb.TaskExecPollRequest) (*pb.TaskExecPollResponse, error) {
	e, err := s.findExec(ctx, r.GetTaskId(), r.GetExecId())
	if err != nil {
		return nil, err
	}
	select {
	case <-e.done:
	default:
		return &pb.TaskExecPollResponse{}, nil
	}
	e.told.Store(true)
	if e.lost {
		return nil, e.sandbox.ended()
	}
	code, signal := exitOf(e.status)
	return pb.TaskExecPollResponse_builder{Code: code, Signal: signal}.Build(), nil
}

// exitOf returns the code or the signal, whichever it was.
func exitOf(exit runtime.ExitStatus) (code, signal *int32) {
	switch {
	case exit.Signal != 0:
		n := int32(exit.Signal)
		return nil, &n
	case exit.OOM:
		n := int32(sigkill)
		return nil, &n
	default:
		n := int32(exit.Code)
		return &n, nil
	}
}

// TaskMountDirectory shows an image's tree, or an empty directory, in a running sandbox.
func (s *Server) TaskMountDirectory(ctx context.Context, r *pb.TaskMountDirectoryRequest) (*emptypb.Empty, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := sb.alive(); err != nil {
		return nil, err
	}
	id := ""
	if r.GetImageId() != "" {
		image, err := s.runtimeImage(ctx, r.GetImageId())
		if err != nil {
			return nil, err
		}
		id = image.ID
	}
	if err := sb.run.MountImage(ctx, string(r.GetPath()), id); err != nil {
		return nil, sb.answer("mount image", err)
	}
	return &emptypb.Empty{}, nil
}

// TaskSnapshotDirectory stores a directory of a running sandbox as an image.
func (s *Server) TaskSnapshotDirectory(ctx context.Context, r *pb.TaskSnapshotDirectoryRequest) (*pb.TaskSnapshotDirectoryResponse, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	if err := sb.alive(); err != nil {
		return nil, err
	}
	image, err := sb.run.SnapshotDir(ctx, string(r.GetPath()))
	if err != nil {
		return nil, sb.answer("snapshot directory", err)
	}
	id, err := s.keepSnapshot(image)
	if err != nil {
		return nil, err
	}
	return pb.TaskSnapshotDirectoryResponse_builder{ImageId: id}.Build(), nil
}
