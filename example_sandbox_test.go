package seer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local" // runs these examples on this machine
)

// started is a CPU sandbox for the examples below.
func started(ctx context.Context) *seer.Sandbox {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return sandbox
}

func Example() {
	ctx := context.Background()
	config := seer.SandboxConfig{
		Env: map[string]string{"GREETING": "hello"},
	}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))

	out, err := sandbox.Exec(ctx, `echo "$GREETING from $(python --version | cut -d. -f1)"`)
	fmt.Print(out, err)
	// Output:
	// hello from Python 3
	// <nil>
}

func ExampleSandbox_Exec() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	_, err := sandbox.Exec(ctx, "echo no such thing >&2; exit 3")
	var exit *seer.ExitError
	if errors.As(err, &exit) {
		fmt.Println(exit.Code, strings.TrimSpace(exit.Stderr))
	}
	// Output: 3 no such thing
}

func ExampleSandbox_ExecPython() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	out, err := sandbox.ExecPython(ctx, "print(6 * 7)")
	fmt.Print(out, err)
	// Output:
	// 42
	// <nil>
}

func ExampleSandbox_Command() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	cmd := sandbox.Command("sort", "-r")
	cmd.Stdin = strings.NewReader("a\nc\nb\n")
	cmd.Stdout = os.Stdout
	fmt.Println(cmd.Run(ctx))
	// Output:
	// c
	// b
	// a
	// <nil>
}

func ExampleSandbox_WriteFile() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if err := sandbox.WriteFile(ctx, "/workspace/config.json", []byte(`{"key": "value"}`)); err != nil {
		fmt.Println(err)
	}
	data, err := sandbox.ReadFile(ctx, "/workspace/config.json")
	fmt.Println(string(data), err)
	_, err = sandbox.ReadFile(ctx, "/workspace/missing")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// {"key": "value"} <nil>
	// true
}

func ExampleSandbox_Upload() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if err := sandbox.Upload(ctx, "testdata/config", "/workspace/data"); err != nil {
		fmt.Println(err)
	}
	out, err := sandbox.Exec(ctx, "cd /workspace/data && ls full.* | tee list.txt")
	fmt.Print(out, err, "\n")

	back, err := os.MkdirTemp("", "data-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(back)
	if err := sandbox.Download(ctx, "/workspace/data", back); err != nil {
		fmt.Println(err)
	}
	list, err := os.ReadFile(back + "/list.txt")
	fmt.Print(string(list), err)
	// Output:
	// full.json
	// full.yaml
	// <nil>
	// full.json
	// full.yaml
	// <nil>
}

func ExampleSandbox_FS() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if _, err := sandbox.Exec(ctx, "mkdir -p /data && touch /data/a.csv /data/b.csv /data/c.txt"); err != nil {
		fmt.Println(err)
	}
	matches, err := fs.Glob(sandbox.FS(ctx), "data/*.csv")
	fmt.Println(matches, err)
	// Output: [data/a.csv data/b.csv] <nil>
}

func ExampleSandbox_Snapshot() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)
	if err := sandbox.WriteFile(ctx, "/workspace/note", []byte("kept")); err != nil {
		fmt.Println(err)
	}
	snapshot, err := sandbox.Snapshot(ctx, "after setup")
	if err != nil {
		fmt.Println(err)
		return
	}
	saved, err := json.Marshal(snapshot) // to a file, or by mail
	if err != nil {
		fmt.Println(err)
	}

	// Later, perhaps in another program.
	var loaded seer.Snapshot
	if err := json.Unmarshal(saved, &loaded); err != nil {
		fmt.Println(err)
	}
	restored, err := seer.FromSnapshot(ctx, &loaded, seer.SandboxConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restored.Terminate(ctx)
	data, err := restored.ReadFile(ctx, "/workspace/note")
	fmt.Println(string(data), err)
	// Output: kept <nil>
}

func ExampleFromID() {
	ctx := context.Background()
	sandbox := started(ctx)
	if err := sandbox.Close(); err != nil { // it runs on
		fmt.Println(err)
	}

	again, err := seer.FromID(ctx, sandbox.SandboxID())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer again.Terminate(ctx)
	fmt.Println(again.SandboxID() == sandbox.SandboxID())
	// Output: true
}

func ExampleWithProgress() {
	ctx := context.Background()
	config := seer.SandboxConfig{Env: map[string]string{"A": "b"}}
	sandbox, err := seer.NewSandbox(config, seer.WithProgress(func(e seer.Event) {
		if e.Kind == seer.EventDone && e.Step == "create sandbox" {
			fmt.Println("running")
		}
	})).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	// Output: running
}
