package modalserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// ending says why a sandbox came to its end. The text is what clients match.
type ending string

const (
	endedExited       ending = "exited"
	endedOutOfMemory  ending = "out_of_memory"
	endedTerminated   ending = "terminated"
	endedTimeout      ending = "timeout"
	endedIdle         ending = "idle_timeout"
	endedLease        ending = "lease"
	endedServerClosed ending = "server_closed"
)

const (
	exitKilled  = 137 // what clients report for a terminated sandbox
	exitTimeout = 124 // and for one that ran into a timeout

	idleChecks   = 20                     // times that an idle sandbox is looked at before it ends
	maxIdleCheck = time.Second            // the longest time between two looks
	minIdleCheck = 10 * time.Millisecond  // and the shortest
	lossGrace    = 100 * time.Millisecond // see exec.watch
)

// sandbox is a sandbox as clients know it, also after its end.
type sandbox struct {
	id, taskID  string
	appID       string
	environment string
	definition  *pb.Sandbox
	created     time.Time
	lease       *lease // nil = the sandbox ends with its command

	run            runtime.Sandbox
	stdin          *stdin
	workdir        string // where relative paths begin; "" = the root
	pool           *pool  // of its outputs and its commands
	stdout, stderr *spool
	files          *fileBook
	tunnels        []*tunnel
	connect        *connectProxy
	done           chan struct{} // closed when result is final

	mu       sync.Mutex
	active   time.Time // last time a client used it
	tags     map[string]string
	ending   ending // "" while nobody has asked for its end
	result   *pb.GenericResult
	finished time.Time
	execs    map[string]*exec
}

// watch sees the sandbox through to its end: by itself, by a timeout, or by request.
func (b *sandbox) watch(s *Server) {
	timeout := time.NewTimer(time.Duration(b.definition.GetTimeoutSecs()) * time.Second)
	defer timeout.Stop()
	leased := time.NewTimer(math.MaxInt64)
	defer leased.Stop()
	if b.lease != nil && b.lease.binds() {
		leased.Reset(b.lease.left())
	}
	idle := time.Duration(b.definition.GetIdleTimeoutSecs()) * time.Second
	var looks <-chan time.Time
	if idle > 0 {
		ticker := time.NewTicker(min(max(idle/idleChecks, minIdleCheck), maxIdleCheck))
		defer ticker.Stop()
		looks = ticker.C
	}
	for running := true; running; {
		select {
		case <-b.run.Done():
			running = false
		case <-timeout.C:
			b.endInBackground(s, endedTimeout)
		case <-leased.C:
			if left := b.lease.left(); left > 0 { // it was renewed, or lifted
				leased.Reset(left)
			} else {
				b.endInBackground(s, endedLease)
			}
		case now := <-looks:
			if b.run.Busy() {
				b.touch()
			} else if now.Sub(b.lastActive()) >= idle {
				looks = nil
				b.endInBackground(s, endedIdle)
			}
		}
	}
	b.finish()
}

func (b *sandbox) endInBackground(s *Server, why ending) {
	s.begin(func() {
		if err := b.end(context.Background(), why); err != nil {
			s.log.WarnContext(s.ctx, "sandbox left something behind", "sandbox", b.id, "error", err)
		}
	})
}

// end terminates the sandbox and waits until nothing of it is left. The first
// reason given stays.
func (b *sandbox) end(ctx context.Context, why ending) error {
	b.mu.Lock()
	if b.ending == "" && b.result == nil {
		b.ending = why
	}
	b.mu.Unlock()
	if err := b.run.Terminate(ctx); err != nil {
		return fmt.Errorf("end sandbox %s: %w", b.id, err)
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end sandbox %s: %w", b.id, ctx.Err())
	}
}

// finish makes the result final.
func (b *sandbox) finish() {
	exit := b.run.Main().Status()
	for _, t := range b.tunnels {
		t.close()
	}
	b.stdin.stop()
	b.pool.settle()
	b.mu.Lock()
	if b.ending == "" {
		b.ending = endedExited
		if exit.OOM {
			b.ending = endedOutOfMemory
		}
	}
	b.result = outcome(b.ending, exit)
	b.finished = time.Now()
	connect := b.connect
	b.mu.Unlock()
	connect.close()
	b.files.closeAll()
	close(b.done)
}

func outcome(why ending, exit runtime.ExitStatus) *pb.GenericResult {
	result := pb.GenericResult_builder{Status: pb.GenericResult_GENERIC_STATUS_FAILURE, Exitcode: int32(exitCode(exit))}
	switch {
	case why == endedTimeout:
		result.Status, result.Exitcode = pb.GenericResult_GENERIC_STATUS_TIMEOUT, exitTimeout
		result.Exception = "the sandbox reached its timeout"
	case why == endedIdle:
		result.Status, result.Exitcode = pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT, exitTimeout
		result.Exception = "the sandbox reached its idle timeout"
	case why == endedLease:
		result.Exitcode = exitLease
		result.Exception = "the lease ran out: the program that kept the sandbox is gone"
	case why == endedTerminated || why == endedServerClosed:
		result.Status, result.Exitcode = pb.GenericResult_GENERIC_STATUS_TERMINATED, exitKilled
		result.Exception = "the sandbox was terminated"
	case exit == runtime.ExitStatus{}:
		result.Status = pb.GenericResult_GENERIC_STATUS_SUCCESS
	default:
		result.Exception = exit.String()
	}
	return result.Build()
}

// exitCode is an exit status as shells number it.
func exitCode(exit runtime.ExitStatus) int {
	switch {
	case exit.Signal != 0:
		return 128 + exit.Signal
	case exit.OOM:
		return exitKilled
	default:
		return exit.Code
	}
}

func (b *sandbox) over() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// outcome returns the result, or nil while the sandbox runs.
func (b *sandbox) outcome() *pb.GenericResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.result
}

// ended is the answer to whoever wants something from a sandbox that is no more.
func (b *sandbox) ended() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.endedLocked()
}

func (b *sandbox) endedLocked() error {
	return status.Errorf(codes.FailedPrecondition, "sandbox %s has ended: reason=%s", b.id, cmp.Or(b.ending, endedExited))
}

// alive fails once the sandbox has ended or is about to.
func (b *sandbox) alive() error {
	b.mu.Lock()
	ending := b.ending
	b.mu.Unlock()
	if ending != "" {
		return b.ended()
	}
	b.touch()
	return nil
}

// commandDone is closed when the command has ended that the sandbox ends with;
// nil if it outlives that.
func (b *sandbox) commandDone() <-chan struct{} {
	if b.lease != nil {
		return nil
	}
	return b.run.Main().Done()
}

// lost reports whether the sandbox is at its end, asked for or not.
func (b *sandbox) lost() bool {
	b.mu.Lock()
	ending := b.ending
	b.mu.Unlock()
	if ending != "" {
		return true
	}
	select {
	case <-b.commandDone():
		return true
	case <-b.run.Done():
		return true
	default:
		return false
	}
}

// answer turns an error of the runtime into one for the client.
func (b *sandbox) answer(action string, err error) error {
	switch {
	case errors.Is(err, runtime.ErrEnded):
		select { // the reason is known once the end is complete
		case <-b.done:
		case <-time.After(lossGrace):
		}
		return b.ended()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, runtime.ErrUnsupported):
		return status.Errorf(codes.Unimplemented, "%s: %v", action, err)
	case errors.Is(err, runtime.ErrNotFound):
		return status.Errorf(codes.NotFound, "%s: %v", action, err)
	default:
		return status.Errorf(codes.FailedPrecondition, "%s: %v", action, err)
	}
}

func (b *sandbox) touch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = time.Now()
}

func (b *sandbox) lastActive() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active
}

func (b *sandbox) info() SandboxInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return SandboxInfo{
		ID: b.id, TaskID: b.taskID, App: b.appID, Name: b.definition.GetName(),
		Image:   b.definition.GetImageId(),
		Command: slices.Clone(b.definition.GetEntrypointArgs()),
		Tags:    maps.Clone(b.tags),
		Created: b.created,
	}
}

// release gives up what is kept of an ended sandbox.
func (b *sandbox) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.execs {
		e.release()
	}
	b.stdout.release()
	b.stderr.release()
	b.pool.release()
}
