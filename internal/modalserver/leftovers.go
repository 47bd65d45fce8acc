package modalserver

import (
	"context"
	"fmt"

	"google.golang.org/grpc/metadata"
)

// killHeader comes with a TaskExecWait of who wants nothing of a command to be
// left. Modal's protocol has no call for that, and the processes of a sandbox
// cannot be trusted to find each other.
const killHeader = "seer-kill-exec"

// killLeftovers kills what a command started and what still runs, where the
// caller wants that.
func (e *exec) killLeftovers(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md.Get(killHeader)) == 0 {
		return nil
	}
	if err := e.process.Signal(sigkill); err != nil {
		return fmt.Errorf("kill command: %w", err)
	}
	return nil
}
