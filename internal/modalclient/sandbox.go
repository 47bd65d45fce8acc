package modalclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

const (
	firstReadyPoll  = 5 * time.Millisecond
	maxReadyPoll    = time.Second
	longPoll        = 10 * time.Second // one SandboxWait or SandboxGetTunnels
	snapshotTimeout = 30 * time.Minute // large file systems take their time
	endPoll         = 2 * time.Second  // one SandboxWait for a sandbox that is told to end
	endWithin       = 2 * time.Minute  // until it has ended
	tunnelsWithin   = 10 * time.Minute // until a sandbox that runs has URLs
)

// Sandbox is a handle on a sandbox. The sandbox lives on without it.
type Sandbox struct {
	client *Client
	id     string

	life   context.Context // ends with Detach; parent of every exec's
	cancel context.CancelCauseFunc

	exit atomic.Pointer[Exit] // once known

	mu       sync.Mutex
	task     *task // once scheduled
	detached bool
	work     sync.WaitGroup // kills under way
}

func (c *Client) sandbox(id string) *Sandbox {
	s := &Sandbox{client: c, id: id}
	s.life, s.cancel = context.WithCancelCause(c.life)
	return s
}

// Sandbox finds a sandbox by its ID, running or ended; ErrNotFound if there never was one.
func (c *Client) Sandbox(ctx context.Context, id string) (*Sandbox, error) {
	s := c.sandbox(id)
	if _, _, err := s.Poll(ctx); err != nil {
		s.cancel(ErrClosed)
		return nil, err
	}
	return s, nil
}

// SandboxByName finds a running sandbox of an app by its name, or ErrNotFound.
func (c *Client) SandboxByName(ctx context.Context, app App, name string) (*Sandbox, error) {
	response, err := c.api.SandboxGetFromName(ctx, pb.SandboxGetFromNameRequest_builder{
		SandboxName:     name,
		AppName:         app.Name,
		EnvironmentName: c.environment,
	}.Build())
	if err != nil {
		return nil, failure(ctx, fmt.Sprintf("get sandbox %q", name), err)
	}
	return c.sandbox(response.GetSandboxId()), nil
}

// Info is what a list says about a running sandbox.
type Info struct {
	ID, Name, ImageID string
	CreatedAt         time.Time
	Tags              map[string]string
}

// List yields the running sandboxes of an app that have all these tags, newest first.
func (c *Client) List(ctx context.Context, app App, tags map[string]string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for before := 0.0; ; {
			response, err := c.api.SandboxList(ctx, pb.SandboxListRequest_builder{
				AppId:           app.ID,
				BeforeTimestamp: before,
				EnvironmentName: c.environment,
				Tags:            wireTags(tags),
			}.Build())
			if err != nil {
				yield(Info{}, failure(ctx, "list sandboxes", err))
				return
			}
			page := response.GetSandboxes()
			if len(page) == 0 {
				return
			}
			for _, s := range page {
				info := Info{
					ID: s.GetId(), Name: s.GetName(), ImageID: s.GetImageId(),
					CreatedAt: time.UnixMicro(int64(s.GetCreatedAt() * 1e6)),
					Tags:      tagMap(s.GetTags()),
				}
				if !yield(info, nil) {
					return
				}
			}
			last := page[len(page)-1].GetCreatedAt()
			if before != 0 && last >= before {
				return // a server that goes round in circles
			}
			before = last
		}
	}
}

// ID returns the server's name for the sandbox.
func (s *Sandbox) ID() string { return s.id }

// Queue is how a sandbox waits for a machine.
type Queue struct {
	Limit time.Duration // 0 = Patience.Queue; negative = none
	For   string        // what it waits for, in words: "H100"; "" = "machine"
}

// Ready waits until the sandbox runs. A sandbox that ends first is a *TerminatedError.
func (s *Sandbox) Ready(ctx context.Context, queue Queue) error {
	_, err := s.queued(ctx, queue)
	return err
}

func (s *Sandbox) ready(ctx context.Context) (*task, error) { return s.queued(ctx, Queue{}) }

// queued polls with growing pauses: Modal answers at once while a sandbox waits
// for capacity, a local server when it is scheduled.
func (s *Sandbox) queued(ctx context.Context, queue Queue) (*task, error) {
	wait := s.newWait(queue)
	for delay := firstReadyPoll; ; delay = min(2*delay, maxReadyPoll) {
		if err := s.ended(); err != nil {
			return nil, err
		}
		if t := s.knownTask(); t != nil {
			return t, nil
		}
		response, err := s.client.api.SandboxGetTaskId(ctx, pb.SandboxGetTaskIdRequest_builder{SandboxId: s.id}.Build())
		if err != nil {
			return nil, failure(ctx, "start sandbox "+s.id, err)
		}
		switch {
		case response.HasTaskResult() && response.GetTaskResult().GetStatus() != pb.GenericResult_GENERIC_STATUS_UNSPECIFIED:
			return nil, s.setExit(response.GetTaskResult())
		case response.GetTaskId() != "":
			return s.setTask(response.GetTaskId()), nil
		}
		if delay == maxReadyPoll {
			// One that ended before it was scheduled never gets a task.
			if err := s.check(ctx, 0); err != nil {
				return nil, err
			}
		}
		if err := wait.pause(ctx, jitter(delay)); err != nil {
			return nil, err
		}
	}
}

func (s *Sandbox) knownTask() *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.task
}

func (s *Sandbox) setTask(id string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.task == nil {
		s.task = newTask(s.client, id)
	}
	return s.task
}

// ended returns a *TerminatedError if the sandbox is known to have ended, or
// the reason why this handle is of no more use.
func (s *Sandbox) ended() error {
	if exit := s.exit.Load(); exit != nil {
		return &TerminatedError{SandboxID: s.id, Exit: *exit}
	}
	return context.Cause(s.life)
}

func (s *Sandbox) setExit(result *pb.GenericResult) error {
	exit := exitOf(result)
	s.exit.CompareAndSwap(nil, &exit)
	err := s.ended()
	s.cancel(err) // whatever still runs here has ended with it
	return err
}

// check asks whether the sandbox has ended, waiting up to patience for it to
// do so, and returns a *TerminatedError if it has.
func (s *Sandbox) check(ctx context.Context, patience time.Duration) error {
	response, err := s.client.api.SandboxWait(ctx, pb.SandboxWaitRequest_builder{
		SandboxId: s.id,
		Timeout:   float32(patience.Seconds()),
	}.Build())
	if err != nil {
		return failure(ctx, "get sandbox "+s.id, err)
	}
	if response.GetResult().GetStatus() == pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		return nil
	}
	return s.setExit(response.GetResult())
}

// Poll reports whether the sandbox has ended, and how.
func (s *Sandbox) Poll(ctx context.Context) (exit Exit, ended bool, err error) {
	return s.poll(ctx, 0)
}

func (s *Sandbox) poll(ctx context.Context, patience time.Duration) (Exit, bool, error) {
	err := s.ended()
	if err == nil {
		err = s.check(ctx, patience)
	}
	var terminated *TerminatedError
	if errors.As(err, &terminated) {
		return terminated.Exit, true, nil
	}
	return Exit{}, false, err
}

// Wait waits until the sandbox ends, and says how. A brief loss of the
// connection does not disturb it.
func (s *Sandbox) Wait(ctx context.Context) (Exit, error) {
	for {
		exit, ended, err := s.poll(ctx, longPoll)
		if err != nil || ended {
			return exit, err
		}
	}
}

// Terminate ends the sandbox and waits until it is gone. One that has ended is no error.
func (s *Sandbox) Terminate(ctx context.Context) error {
	if s.exit.Load() != nil {
		return nil
	}
	op := "terminate sandbox " + s.id
	_, err := s.client.api.SandboxTerminate(ctx, pb.SandboxTerminateRequest_builder{SandboxId: s.id}.Build())
	if err != nil {
		return ignoreNotFound(failure(ctx, op, err))
	}
	for told := time.Now(); s.exit.Load() == nil; {
		err := s.check(ctx, endPoll)
		if err == nil && time.Since(told) > endWithin {
			return &Error{Op: op, Message: fmt.Sprintf("it still runs after %s", endWithin)}
		}
		if err != nil && !errors.Is(err, ErrTerminated) {
			return ignoreNotFound(fmt.Errorf("%s: %w", op, err))
		}
	}
	return nil
}

// Detach lets go of the sandbox, which runs on: it ends this handle's execs'
// streams and waits for kills under way. It is idempotent.
func (s *Sandbox) Detach() {
	s.mu.Lock()
	s.detached = true
	s.mu.Unlock()
	s.work.Wait()
	s.cancel(ErrClosed)
}

// begin registers work that Detach and Close wait for; false if it is too late
// for it or of no use. What begins must call done.
func (s *Sandbox) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.detached || s.ended() != nil || !s.client.begin() {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Sandbox) done() {
	s.work.Done()
	s.client.work.Done()
}

// Tunnels waits until the sandbox's open ports can be reached and returns
// their URLs by port.
func (s *Sandbox) Tunnels(ctx context.Context) (map[int]string, error) {
	for began := time.Now(); ; {
		if err := s.ended(); err != nil {
			return nil, err
		}
		response, err := s.client.api.SandboxGetTunnels(ctx, pb.SandboxGetTunnelsRequest_builder{
			SandboxId: s.id,
			Timeout:   float32(min(longPoll, s.client.patience.Poll).Seconds()),
		}.Build())
		if err != nil {
			return nil, failure(ctx, "get tunnels of sandbox "+s.id, err)
		}
		if response.GetResult().GetStatus() == pb.GenericResult_GENERIC_STATUS_TIMEOUT {
			if err := s.check(ctx, 0); err != nil {
				return nil, err
			}
			if time.Since(began) > tunnelsWithin {
				return nil, &Error{Op: "get tunnels of sandbox " + s.id, Kind: context.DeadlineExceeded, Message: "the server has none after " + tunnelsWithin.String()}
			}
			continue
		}
		urls := make(map[int]string, len(response.GetTunnels()))
		for _, tunnel := range response.GetTunnels() {
			urls[int(tunnel.GetContainerPort())] = s.client.tunnelURL(tunnel)
		}
		return urls, nil
	}
}

func (c *Client) tunnelURL(tunnel *pb.TunnelData) string {
	scheme, usual := "https", uint32(443)
	if c.plainTunnels {
		scheme, usual = "http", 80
	}
	if tunnel.GetPort() == usual {
		return scheme + "://" + tunnel.GetHost()
	}
	return scheme + "://" + net.JoinHostPort(tunnel.GetHost(), fmt.Sprint(tunnel.GetPort()))
}

// Snapshot stores the file system, volumes left out, as an image and returns its ID.
func (s *Sandbox) Snapshot(ctx context.Context) (string, error) {
	op := "snapshot sandbox " + s.id
	if err := s.ended(); err != nil {
		return "", err
	}
	response, err := s.client.api.SandboxSnapshotFs(ctx, pb.SandboxSnapshotFsRequest_builder{
		SandboxId: s.id,
		Timeout:   float32(snapshotTimeout.Seconds()),
	}.Build())
	if err != nil {
		return "", s.explain(ctx, op, err)
	}
	if result := response.GetResult(); result != nil && result.GetStatus() != pb.GenericResult_GENERIC_STATUS_SUCCESS {
		return "", &Error{Op: op, Message: result.GetException()}
	}
	return response.GetImageId(), nil
}

// SetTags replaces the sandbox's tags.
func (s *Sandbox) SetTags(ctx context.Context, tags map[string]string) error {
	_, err := s.client.api.SandboxTagsSet(ctx, pb.SandboxTagsSetRequest_builder{
		EnvironmentName: s.client.environment,
		SandboxId:       s.id,
		Tags:            wireTags(tags),
	}.Build())
	return failure(ctx, "tag sandbox "+s.id, err)
}

// Tags returns the sandbox's tags.
func (s *Sandbox) Tags(ctx context.Context) (map[string]string, error) {
	response, err := s.client.api.SandboxTagsGet(ctx, pb.SandboxTagsGetRequest_builder{SandboxId: s.id}.Build())
	if err != nil {
		return nil, failure(ctx, "get tags of sandbox "+s.id, err)
	}
	return tagMap(response.GetTags()), nil
}

// explain prefers the sandbox's end as the reason of a failed call.
func (s *Sandbox) explain(ctx context.Context, op string, err error) error {
	if ctx.Err() == nil {
		if ended := s.check(ctx, 0); errors.Is(ended, ErrTerminated) {
			return fmt.Errorf("%s: %w", op, ended)
		}
	}
	return failure(ctx, op, err)
}
