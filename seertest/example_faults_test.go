package seertest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func ExampleServer_Calls() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
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

	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
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

	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
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

	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
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

	server := seertest.NewServer(t)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	server.AnswerLate("SandboxTagsSet", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	fmt.Println(errors.Is(backUp(ctx, server.Backend()), context.DeadlineExceeded))
	fmt.Println(len(server.Sandboxes()), "left running")
	// Output:
	// true
	// 0 left running
}
