// Snapshot sets a sandbox up once and goes on from there twice.
//
//	go run ./examples/snapshot
//
// It needs no account. With SEER_BACKEND=modal it runs on Modal instead.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "snapshot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	mailed, err := setUp(ctx)
	if err != nil {
		return err
	}
	// This may as well be another program, tomorrow.
	var snapshot seer.Snapshot
	if err := json.Unmarshal(mailed, &snapshot); err != nil {
		return err
	}
	for _, idea := range []string{"first idea", "second idea"} {
		if err := try(ctx, &snapshot, idea); err != nil {
			return err
		}
	}
	return nil
}

// setUp does the slow part once, and returns a snapshot of it as JSON.
func setUp(ctx context.Context) ([]byte, error) {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithProgress(seer.PrintProgress(os.Stderr))).Start(ctx)
	if err != nil {
		return nil, err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // SnapshotAndTerminate reports; this is for early returns
	if err := sandbox.WriteFile(ctx, "/workspace/log.txt", []byte("set up\n")); err != nil {
		return nil, err
	}
	snapshot, err := sandbox.SnapshotAndTerminate(ctx, "after setup")
	if err != nil {
		return nil, err
	}
	fmt.Printf("saved %q, on the %s backend\n", snapshot.Description, snapshot.Backend)
	return json.Marshal(snapshot)
}

// try goes on from the snapshot, which stays as it is.
func try(ctx context.Context, snapshot *seer.Snapshot, idea string) error {
	sandbox, err := seer.FromSnapshot(ctx, snapshot, snapshot.Config)
	if err != nil {
		return err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // Terminate below reports; this is for early returns
	cmd := sandbox.Command("sh", "-c", `echo "$1" >>/workspace/log.txt && cat /workspace/log.txt`, "sh", idea)
	log, err := cmd.Output(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%s:\n%s", idea, log)
	return sandbox.Terminate(ctx)
}
