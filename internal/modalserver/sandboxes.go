package modalserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	listPage     = 100 // sandboxes in one answer
	maxTagLength = 63
)

// find returns a sandbox by ID, running or not.
func (s *Server) find(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb, ok := s.sandboxes[id]; ok {
		return sb, nil
	}
	return nil, status.Errorf(codes.NotFound, "sandbox %s not found", id)
}

// findRunning returns a sandbox by ID that has not ended.
func (s *Server) findRunning(id string) (*sandbox, error) {
	sb, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return sb, sb.alive()
}

// SandboxGetTaskId names the task of a sandbox. It has one from the start.
func (s *Server) SandboxGetTaskId(_ context.Context, r *pb.SandboxGetTaskIdRequest) (*pb.SandboxGetTaskIdResponse, error) { //nolint:staticcheck // The protocol's name.
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if outcome := sb.outcome(); s.full != nil && s.full() && outcome.GetStatus() == pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		return &pb.SandboxGetTaskIdResponse{}, nil
	}
	return pb.SandboxGetTaskIdResponse_builder{TaskId: &sb.taskID, TaskResult: sb.outcome()}.Build(), nil
}

// SandboxWait waits for a sandbox to end, as long as the caller says. The
// result stays unset while it runs.
func (s *Server) SandboxWait(ctx context.Context, r *pb.SandboxWaitRequest) (*pb.SandboxWaitResponse, error) {
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	timeout := time.NewTimer(duration(r.GetTimeout()))
	defer timeout.Stop()
	select {
	case <-sb.done:
	case <-timeout.C:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-s.ctx.Done():
		return nil, errClosing()
	}
	return pb.SandboxWaitResponse_builder{Result: sb.outcome()}.Build(), nil
}

// duration is a number of seconds of the protocol.
func duration(seconds float32) time.Duration {
	return time.Duration(float64(seconds) * float64(time.Second))
}

// SandboxTerminate ends a sandbox. On one that has ended it reports its result.
func (s *Server) SandboxTerminate(ctx context.Context, r *pb.SandboxTerminateRequest) (*pb.SandboxTerminateResponse, error) {
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if result := sb.outcome(); result != nil {
		return pb.SandboxTerminateResponse_builder{ExistingResult: result}.Build(), nil
	}
	// A caller that goes away does not leave half a sandbox behind.
	if err := sb.end(context.WithoutCancel(ctx), endedTerminated); err != nil {
		return nil, failure("terminate sandbox", err)
	}
	return &pb.SandboxTerminateResponse{}, nil
}

// SandboxList lists sandboxes, newest first, a page at a time.
func (s *Server) SandboxList(_ context.Context, r *pb.SandboxListRequest) (*pb.SandboxListResponse, error) {
	environment := environmentOr(r.GetEnvironmentName())
	all := s.all()
	slices.Reverse(all)
	var page []*pb.SandboxInfo
	for _, sb := range all {
		switch {
		case r.GetAppId() != "" && sb.appID != r.GetAppId(),
			r.GetAppId() == "" && sb.environment != environment,
			r.GetBeforeTimestamp() > 0 && seconds(sb.created) >= r.GetBeforeTimestamp(),
			!r.GetIncludeFinished() && sb.over(),
			!sb.hasTags(r.GetTags()):
			continue
		}
		if page = append(page, sb.describe()); len(page) == listPage {
			break
		}
	}
	return pb.SandboxListResponse_builder{Sandboxes: page}.Build(), nil
}

func (b *sandbox) hasTags(want []*pb.SandboxTag) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !slices.ContainsFunc(want, func(t *pb.SandboxTag) bool {
		value, ok := b.tags[t.GetTagName()]
		return !ok || value != t.GetTagValue()
	})
}

func (b *sandbox) describe() *pb.SandboxInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	task := pb.TaskInfo_builder{
		Id:         b.taskID,
		SandboxId:  b.id,
		EnqueuedAt: seconds(b.created),
		StartedAt:  seconds(b.created),
		Result:     b.result,
	}
	if b.result != nil {
		task.FinishedAt = seconds(b.finished)
	}
	info := pb.SandboxInfo_builder{
		Id:          b.id,
		AppId:       b.appID,
		CreatedAt:   seconds(b.created),
		TaskInfo:    task.Build(),
		Tags:        tagList(b.tags),
		Name:        b.definition.GetName(),
		ImageId:     b.definition.GetImageId(),
		TimeoutSecs: b.definition.GetTimeoutSecs(),
	}
	if idle := b.definition.GetIdleTimeoutSecs(); idle > 0 {
		info.IdleTimeoutSecs = &idle
	}
	return info.Build()
}

func tagList(tags map[string]string) []*pb.SandboxTag {
	list := make([]*pb.SandboxTag, 0, len(tags))
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, pb.SandboxTag_builder{TagName: name, TagValue: tags[name]}.Build())
	}
	return list
}

// SandboxTagsSet replaces the tags of a sandbox.
func (s *Server) SandboxTagsSet(_ context.Context, r *pb.SandboxTagsSetRequest) (*emptypb.Empty, error) {
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(r.GetTags())
	if err != nil {
		return nil, err
	}
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.tags = tags
	return &emptypb.Empty{}, nil
}

// tagMap checks tags, which have the same shape in two generations of messages.
func tagMap[Tag interface {
	GetTagName() string
	GetTagValue() string
}](list []Tag) (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range list {
		for _, part := range []string{tag.GetTagName(), tag.GetTagValue()} {
			if len(part) > maxTagLength || !nameShape.MatchString(part) {
				return nil, invalid("invalid tag %q=%q: names and values are 1 to %d letters, digits, dots, dashes and underscores",
					tag.GetTagName(), tag.GetTagValue(), maxTagLength)
			}
		}
		tags[tag.GetTagName()] = tag.GetTagValue()
	}
	return tags, nil
}

// SandboxTagsGet returns the tags of a sandbox.
func (s *Server) SandboxTagsGet(_ context.Context, r *pb.SandboxTagsGetRequest) (*pb.SandboxTagsGetResponse, error) {
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return pb.SandboxTagsGetResponse_builder{Tags: tagList(sb.tags)}.Build(), nil
}

// SandboxGetFromName finds the running sandbox with a name in an app.
func (s *Server) SandboxGetFromName(_ context.Context, r *pb.SandboxGetFromNameRequest) (*pb.SandboxGetFromNameResponse, error) {
	app, err := load[named](s.names, kindApp, nameKey(environmentOr(r.GetEnvironmentName()), r.GetAppName()))
	if err != nil {
		return nil, failure(fmt.Sprintf("find app '%s'", r.GetAppName()), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sb := range s.sandboxes {
		if sb.appID == app.ID && sb.definition.GetName() == r.GetSandboxName() && !sb.over() {
			return pb.SandboxGetFromNameResponse_builder{SandboxId: sb.id}.Build(), nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "sandbox with name '%s' not found in app '%s'", r.GetSandboxName(), r.GetAppName())
}

// SandboxStdinWrite passes input to the sandbox's own command.
func (s *Server) SandboxStdinWrite(ctx context.Context, r *pb.SandboxStdinWriteRequest) (*pb.SandboxStdinWriteResponse, error) {
	sb, err := s.findRunning(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := sb.stdin.writeMessage(ctx, uint64(r.GetIndex()), r.GetInput(), r.GetEof()); err != nil {
		return nil, err
	}
	return &pb.SandboxStdinWriteResponse{}, nil
}

// SandboxGetLogs streams what the sandbox's own command writes. Entry IDs are
// byte offsets, so that a client can go on where it left off.
func (s *Server) SandboxGetLogs(r *pb.SandboxGetLogsRequest, stream grpc.ServerStreamingServer[pb.TaskLogsBatch]) error {
	sb, err := s.find(r.GetSandboxId())
	if err != nil {
		return err
	}
	output := sb.stdout
	if r.GetFileDescriptor() == pb.FileDescriptor_FILE_DESCRIPTOR_STDERR {
		output = sb.stderr
	}
	offset, err := entryOffset(r.GetLastEntryId())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(stream.Context(), duration(r.GetTimeout()))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	buffer := make([]byte, chunkSize)
	cut := 0 // bytes of a character at the start of buffer whose rest is to come
	for {
		n, next, err := output.read(ctx, buffer[cut:], offset)
		ended := errors.Is(err, io.EOF)
		switch {
		case ended:
		case err != nil && ctx.Err() != nil && stream.Context().Err() == nil:
			return nil // the client asks again
		case errors.Is(err, errReleased):
			return status.Errorf(codes.NotFound, "output of sandbox %s: %v", sb.id, err)
		case err != nil:
			return sb.answer("read output of sandbox", err)
		}
		available := cut + n
		whole := available
		if !ended && next == offset+int64(n) {
			whole = wholeRunes(buffer[:available])
		}
		offset = next
		if whole > 0 {
			if err := stream.Send(sb.logBatch(r.GetFileDescriptor(), offset-int64(available-whole), buffer[:whole])); err != nil {
				return err
			}
		}
		if ended {
			return stream.Send(pb.TaskLogsBatch_builder{TaskId: sb.taskID, EntryId: entryID(offset), Eof: true}.Build())
		}
		cut = copy(buffer, buffer[whole:available])
	}
}

func (b *sandbox) logBatch(descriptor pb.FileDescriptor, next int64, data []byte) *pb.TaskLogsBatch {
	entry := pb.TaskLogs_builder{
		Data:           strings.ToValidUTF8(string(data), "\uFFFD"),
		FileDescriptor: descriptor,
		Timestamp:      seconds(time.Now()),
	}.Build()
	return pb.TaskLogsBatch_builder{TaskId: b.taskID, EntryId: entryID(next), Items: []*pb.TaskLogs{entry}}.Build()
}

// wholeRunes returns how much of p to send so that no character is cut in two:
// log data is text on the wire.
func wholeRunes(p []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if tail := p[len(p)-back:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return len(p) - back
			}
			break
		}
	}
	return len(p)
}

func entryID(offset int64) string { return strconv.FormatInt(offset, 10) + "-0" }

func entryOffset(id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	number, _, _ := strings.Cut(id, "-")
	offset, err := strconv.ParseInt(number, 10, 64)
	if err != nil || offset < 0 {
		return 0, invalid("invalid entry ID %q", id)
	}
	return offset, nil
}

// SandboxSnapshotFs stores a sandbox's file system as an image.
func (s *Server) SandboxSnapshotFs(ctx context.Context, r *pb.SandboxSnapshotFsRequest) (*pb.SandboxSnapshotFsResponse, error) {
	sb, err := s.findRunning(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if r.GetTimeout() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration(r.GetTimeout()))
		defer cancel()
	}
	image, err := sb.run.Snapshot(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		result := pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_TIMEOUT, Exception: "snapshot took longer than its timeout"}.Build()
		return pb.SandboxSnapshotFsResponse_builder{Result: result}.Build(), nil
	}
	if err != nil {
		return nil, sb.answer("snapshot sandbox", err)
	}
	id, err := s.keepSnapshot(image)
	if err != nil {
		return nil, err
	}
	return pb.SandboxSnapshotFsResponse_builder{ImageId: id, Result: success()}.Build(), nil
}

func success() *pb.GenericResult {
	return pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_SUCCESS}.Build()
}

// TaskGetCommandRouterAccess tells a client where to run commands, and lets it.
func (s *Server) TaskGetCommandRouterAccess(_ context.Context, r *pb.TaskGetCommandRouterAccessRequest) (*pb.TaskGetCommandRouterAccessResponse, error) {
	sb, err := s.findTask(r.GetTaskId())
	if err != nil {
		return nil, err
	}
	token, err := s.auth.sign(forRouter, sb.taskID)
	if err != nil {
		return nil, failure("sign router token", err)
	}
	return pb.TaskGetCommandRouterAccessResponse_builder{Jwt: token, Url: s.routerURL()}.Build(), nil
}

// routerURL is where commands are run: the server itself. Clients insist on the scheme.
func (s *Server) routerURL() string { return "https://" + s.address }

func (s *Server) findTask(id string) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb, ok := s.tasks[id]; ok {
		return sb, nil
	}
	return nil, status.Errorf(codes.NotFound, "task %s not found", id)
}
