package seer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

// served is a service for the examples below.
func served(ctx context.Context) (*seer.ScopedSandbox, *seer.Service) {
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tools, err := scoped.Serve(ctx, "testdata/interface/model_tools.py", nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return scoped, tools
}

func ExampleNewScopedSandbox() {
	ctx := context.Background()
	config := seer.SandboxConfig{
		BlockNetwork: true,            // functions are reached through this program then
		RPCTimeout:   2 * time.Minute, // of each call
	}
	scoped, err := seer.NewScopedSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer scoped.Terminate(context.WithoutCancel(ctx))

	tools, err := scoped.Serve(ctx, "testdata/interface/model_tools.py", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, function := range tools.Functions()[:2] {
		fmt.Println(function.Name + function.Signature)
	}
	// Output:
	// get_embedding(text: str, *, scale: float = 1.0) -> list[float]
	// fail(message: str)
}

func ExampleWithToolText() {
	ctx := context.Background()
	// For an agent with little room for what its tools say.
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}, seer.WithToolText(20_000)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer scoped.Terminate(context.WithoutCancel(ctx))
	tools, err := scoped.Serve(ctx, "testdata/interface/model_tools.py", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tools.MCPConfig()["model_tools"].Type)
	// Output: http
}

func ExampleScopedSandbox_Serve() {
	ctx := context.Background()
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer scoped.Terminate(context.WithoutCancel(ctx))
	tools, err := scoped.Serve(ctx, "testdata/interface/model_tools.py", &seer.ServeOptions{Name: "embeddings"})
	if err != nil {
		fmt.Println(err) // with Python's traceback
		return
	}

	// For an agent that writes Python, and for one that calls tools: tools.MCPConfig().
	dir, err := os.MkdirTemp("", "work-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	workspace := &seer.Workspace{Libraries: []seer.Library{tools.Library()}}
	session, err := seer.NewLocalSession(ctx, workspace, dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(ctx)
	result, err := session.Exec(ctx, "import embeddings\nembeddings.get_embedding('hi')")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text())
	// Output: [0.25, 0.5]
}

func ExampleCallAs() {
	ctx := context.Background()
	scoped, tools := served(ctx)
	defer scoped.Terminate(ctx)

	embedding, err := seer.CallAs[[]float64](ctx, tools, "get_embedding", map[string]any{"text": "hi", "scale": 2})
	fmt.Println(embedding, err)

	_, err = seer.CallAs[any](ctx, tools, "fail", map[string]any{"message": "not today"})
	var raised *seer.CallError
	if errors.As(err, &raised) {
		fmt.Println(raised.Type, raised.Message)
	}
	// Output:
	// [0.5 1] <nil>
	// ValueError not today
}

func ExampleStreamAs() {
	ctx := context.Background()
	scoped, tools := served(ctx)
	defer scoped.Terminate(ctx)

	for number, err := range seer.StreamAs[int](ctx, tools, "count", map[string]any{"to": 1_000_000}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(number)
		if number == 2 {
			break // which cancels the rest
		}
	}
	// Output:
	// 0
	// 1
	// 2
}

func ExampleScopedFromID() {
	ctx := context.Background()
	scoped, tools := served(ctx)
	if err := errors.Join(tools.Close(), scoped.Close()); err != nil { // it serves on
		fmt.Println(err)
	}

	again, err := seer.ScopedFromID(ctx, scoped.SandboxID())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer again.Terminate(ctx)
	tools, err = again.Service(ctx, "model_tools")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(seer.CallAs[[]float64](ctx, tools, "get_embedding", map[string]any{"text": "hi"}))
	// Output: [0.25 0.5] <nil>
}

func ExampleScopedFromSnapshot() {
	ctx := context.Background()
	scoped, tools := served(ctx)
	defer scoped.Terminate(ctx)
	defer tools.Close()
	snapshot, err := scoped.SnapshotAndTerminate(ctx, "with what the functions wrote")
	if err != nil {
		fmt.Println(err)
		return
	}

	restored, err := seer.ScopedFromSnapshot(ctx, snapshot, snapshot.Config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restored.Terminate(ctx)
	tools, err = restored.Serve(ctx, "testdata/interface/model_tools.py", nil) // a snapshot has files, no services
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(seer.CallAs[[]float64](ctx, tools, "get_embedding", map[string]any{"text": "hi"}))
	// Output: [0.25 0.5] <nil>
}
