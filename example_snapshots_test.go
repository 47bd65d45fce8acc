package seer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
)

// Sets up once, and goes on from there in two ways.
func ExampleFromSnapshot() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)
	if err := sandbox.WriteFile(ctx, "/workspace/state", []byte("prepared")); err != nil {
		fmt.Println(err)
		return
	}
	snapshot, err := sandbox.Snapshot(ctx, "after setup")
	if err != nil {
		fmt.Println(err)
		return
	}

	for _, idea := range []string{"first", "second"} {
		config := snapshot.Config
		config.Env = map[string]string{"IDEA": idea}
		restored, err := seer.FromSnapshot(ctx, snapshot, config)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer restored.Terminate(ctx)
		out, err := restored.Exec(ctx, `echo "$(cat /workspace/state): $IDEA"`)
		fmt.Print(out)
		if err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// prepared: first
	// prepared: second
}

func ExampleWithRefreshedFiles() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "project-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "step.py")
	if err := os.WriteFile(script, []byte("print('as it was')\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	config := seer.SandboxConfig{LocalDirs: []seer.Mount{{Source: dir, Target: "/workspace/project"}}}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	snapshot, err := sandbox.SnapshotAndTerminate(ctx, "before the change")
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := os.WriteFile(script, []byte("print('as it is now')\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	restored, err := seer.FromSnapshot(ctx, snapshot, config, seer.WithRefreshedFiles())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restored.Terminate(ctx)
	out, err := restored.Exec(ctx, "python /workspace/project/step.py")
	fmt.Print(out, err)
	// Output:
	// as it is now
	// <nil>
}

func ExampleSandbox_SnapshotAndTerminate() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx) // for early returns
	if err := sandbox.WriteFile(ctx, "/workspace/result", []byte("0.93")); err != nil {
		fmt.Println(err)
		return
	}

	snapshot, err := sandbox.SnapshotAndTerminate(ctx, "the end of the day")
	if snapshot == nil {
		fmt.Println(err)
		return
	}
	fmt.Println(snapshot.Description, err)
	// Output: the end of the day <nil>
}

// One sandbox hands a directory to another, which keeps its own system.
func ExampleSandbox_SnapshotDir() {
	ctx := context.Background()
	trainer, evaluator := started(ctx), started(ctx)
	defer trainer.Terminate(ctx)
	defer evaluator.Terminate(ctx)
	if err := trainer.WriteFile(ctx, "/workspace/checkpoint/step", []byte("1000")); err != nil {
		fmt.Println(err)
		return
	}
	checkpoint, err := trainer.SnapshotDir(ctx, "/workspace/checkpoint", "step 1000")
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := evaluator.RestoreDir(ctx, checkpoint, "/data/checkpoint"); err != nil {
		fmt.Println(err)
		return
	}
	step, err := evaluator.ReadFile(ctx, "/data/checkpoint/step")
	fmt.Println(string(step), err)
	// Output: 1000 <nil>
}
