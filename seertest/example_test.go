package seertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

func ExampleServer_Calls() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := newServer(t)
	if err := backUp(t.Context(), server.Backend()); err != nil {
		t.Fatal(err)
	}
	for _, call := range server.Calls() {
		if call.RPC == "SandboxTerminate" || call.RPC == "SandboxCreate" {
			fmt.Println(call.RPC)
		}
	}
	// Output:
	// SandboxCreate
	// SandboxTerminate
}

func ExampleServer_Fail() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := newServer(t)
	server.Fail("SandboxCreate", status.Error(codes.Unauthenticated, "token was revoked"), -1)
	err := backUp(t.Context(), server.Backend())
	fmt.Println(errors.Is(err, seer.ErrUnauthorized))

	server.Heal()
	fmt.Println(backUp(t.Context(), server.Backend()))
	// Output:
	// true
	// <nil>
}

func ExampleServer_Stall() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := newServer(t)
	server.Stall("TaskExecWait", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var timeout *seer.TimeoutError
	fmt.Println(errors.As(backUp(ctx, server.Backend()), &timeout))
	fmt.Println(len(server.Sandboxes()), "left running")
	// Output:
	// true
	// 0 left running
}

func ExampleServer_Cut() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := newServer(t)
	server.Cut("SandboxCreate", 0, 1) // it is created, and nobody learns of it
	fmt.Println(backUp(t.Context(), server.Backend()))
	fmt.Println(len(server.Sandboxes()), "left running")
	// Output:
	// <nil>
	// 0 left running
}

func ExampleServer_AnswerLate() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := newServer(t)
	server.AnswerLate("SandboxTagsSet", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	fmt.Println(errors.Is(backUp(ctx, server.Backend()), context.DeadlineExceeded))
	fmt.Println(len(server.Sandboxes()), "left running")
	// Output:
	// true
	// 0 left running
}

// newServer returns a server whose every command succeeds.
func newServer(tb testing.TB) *seertest.Server {
	tb.Helper()
	server := seertest.NewServer(tb)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	return server
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
