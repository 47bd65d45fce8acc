package seertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// backUp is the code under test in these examples.
func backUp(ctx context.Context, backend seer.Backend) error {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		return err
	}
	_, err = sandbox.Exec(ctx, "tar czf /backup.tar.gz /workspace")
	return errors.Join(err, sandbox.Terminate(context.WithoutCancel(ctx)))
}

func Example() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		if strings.Contains(strings.Join(e.Args, " "), "tar ") {
			fmt.Fprintln(e.Stderr, "tar: /workspace: Cannot stat")
			return seertest.Result{Code: 2}
		}
		return seertest.Result{}
	})
	fmt.Println(backUp(t.Context(), server.Backend()))
	fmt.Println(len(server.Sandboxes()), "left running")
	// Output:
	// bash: exit status 2
	//     tar: /workspace: Cannot stat
	// 0 left running
}

// A machine with a GPU, which no test needs to pay for.
func ExampleServer_HandleExec() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := seertest.NewServer(t)
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		fmt.Fprintln(e.Stdout, "NVIDIA H100 80GB HBM3")
		return seertest.Result{}
	})
	config := seer.SandboxConfig{GPU: "H100"}
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := sandbox.Exec(t.Context(), "nvidia-smi --query-gpu=name --format=csv,noheader")
	fmt.Print(out, errors.Join(err, sandbox.Terminate(t.Context())))
	// Output:
	// NVIDIA H100 80GB HBM3
	// <nil>
}

// exampleT stands for the *testing.T that an example has not.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func newT() *exampleT { return &exampleT{} }

func (*exampleT) Helper()                        {}
func (*exampleT) Context() context.Context       { return context.Background() }
func (*exampleT) Logf(string, ...any)            {}
func (*exampleT) Fatal(args ...any)              { fmt.Println(args...) }
func (*exampleT) Errorf(format string, a ...any) { fmt.Printf(format, a...) }
func (t *exampleT) Cleanup(clean func())         { t.cleanups = append(t.cleanups, clean) }

func (t *exampleT) end() {
	for _, clean := range t.cleanups {
		clean()
	}
}
