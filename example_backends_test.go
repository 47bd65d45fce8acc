package seer_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// played makes Modal a server in this program, on which play answers every
// command: an example needs no account then, and no GPU. It returns the end.
func played(play func(seertest.Exec) seertest.Result) (end func()) {
	if play == nil {
		play = func(seertest.Exec) seertest.Result { return seertest.Result{} }
	}
	t := &exampleT{}
	server := seertest.NewServer(t)
	server.HandleExec(play)
	endpoint := server.Endpoint()
	for name, value := range map[string]string{
		"SEER_BACKEND": "modal", "MODAL_SERVER_URL": endpoint.ServerURL,
		"MODAL_TOKEN_ID": endpoint.TokenID, "MODAL_TOKEN_SECRET": endpoint.TokenSecret,
	} {
		before, was := os.LookupEnv(name)
		t.Cleanup(func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		})
		_ = os.Setenv(name, value)
	}
	return t.end
}

// exampleT stands for the *testing.T that an example has not.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                        {}
func (*exampleT) Context() context.Context       { return context.Background() }
func (*exampleT) Logf(string, ...any)            {}
func (*exampleT) Fatal(args ...any)              { fmt.Println(args...) }
func (*exampleT) Errorf(format string, a ...any) { fmt.Printf(format+"\n", a...) }
func (t *exampleT) Cleanup(clean func())         { t.cleanups = append(t.cleanups, clean) }

func (t *exampleT) end() {
	for _, clean := range t.cleanups {
		clean()
	}
}

// playGPU is a machine with a GPU, in the examples.
func playGPU(e seertest.Exec) seertest.Result {
	fmt.Fprintln(e.Stdout, "NVIDIA H100 80GB HBM3")
	return seertest.Result{}
}

func ExampleModal() {
	ctx := context.Background()
	defer played(playGPU)() // the account of this example

	backend := seer.Modal(
		seer.ModalToken(os.Getenv("TEAM_TOKEN_ID"), os.Getenv("TEAM_TOKEN_SECRET")), // "" = as modal-go finds it
		seer.ModalEnvironment("staging"),
	)
	config := seer.SandboxConfig{GPU: "H100", Timeout: 30 * time.Minute}
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))
	out, err := sandbox.Exec(ctx, "nvidia-smi --query-gpu=name --format=csv,noheader")
	fmt.Print(out, err)
	// Output:
	// NVIDIA H100 80GB HBM3
	// <nil>
}

// Several programs share a server: what `seer local serve` is for.
func ExampleNewBackend() {
	ctx := context.Background()
	server, err := local.Serve(ctx, local.ServeOptions{TokenID: "ak-mine", TokenSecret: "as-mine"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	// In any of the programs.
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{
			ServerURL: server.URL(), TokenID: "ak-mine", TokenSecret: "as-mine",
			PlainTunnels: true, NoGPU: true,
		}, nil
	}, nil)
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	out, err := sandbox.Exec(ctx, "echo shared")
	fmt.Print(out, err)
	// Output:
	// shared
	// <nil>
}

// Only what needs a GPU leaves this machine.
func ExampleWithBackend() {
	ctx := context.Background()
	onThisMachine := local.New()
	defer onThisMachine.Close()
	config := seer.SandboxConfig{Env: map[string]string{"STEPS": "100"}}

	backend := onThisMachine
	if config.GPU != "" {
		backend = seer.Modal()
	}
	sandbox, err := seer.NewSandbox(config, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	fmt.Println(sandbox.Backend())
	// Output: local
}

// Each app has its own sandboxes to list and to look after.
func ExampleWithAppName() {
	ctx := context.Background()
	evals := seer.WithAppName("evals")
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, evals).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	for info, err := range seer.List(ctx, seer.Filter{Owner: seer.CurrentOwner()}, evals) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(info.ID == sandbox.SandboxID())
	}
	// Output: true
}

func ExampleWithEnvFile() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "project-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "staging.env")
	if err := os.WriteFile(file, []byte("EXAMPLE_SERVICE_KEY=k-123\nEXAMPLE_OTHER_KEY=k-456\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	config := seer.SandboxConfig{Secrets: []string{"EXAMPLE_SERVICE_KEY"}}
	sandbox, err := seer.NewSandbox(config, seer.WithEnvFile(file)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	out, err := sandbox.Exec(ctx, `echo "${EXAMPLE_SERVICE_KEY-none} ${EXAMPLE_OTHER_KEY-none}"`)
	fmt.Print(out, err)
	// Output:
	// k-123 none
	// <nil>
}

func ExampleWithLogger() {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "sandbox" {
				return slog.Attr{} // another one each time
			}
			return a
		},
	})).With("job", "nightly")
	config := seer.SandboxConfig{SnapshotBeforeEnd: 5 * time.Minute}
	sandbox, err := seer.NewSandbox(config, seer.WithLogger(logger)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sandbox.Close(); err != nil {
		fmt.Println(err)
	}
	if err := seer.TerminateAll(ctx, []string{sandbox.SandboxID()}); err != nil {
		fmt.Println(err)
	}
	// Output: level=WARN msg="a sandbox that is closed is not saved before its end" job=nightly
}

// A machine that sleeps at night renews no lease: its sandboxes wait for it.
func ExampleWithLease() {
	ctx := context.Background()
	config := seer.SandboxConfig{Timeout: 20 * time.Hour}
	sandbox, err := seer.NewSandbox(config, seer.WithLease(12*time.Hour)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	for info, err := range seer.List(ctx, seer.Filter{Owner: seer.CurrentOwner()}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(info.Lease)
	}
	// Output: 12h0m0s
}

// What a Budget pays for, at a discount.
func ExampleWithPrices() {
	ctx := context.Background()
	prices := seer.ListPrices()
	prices.Source = "our contract"
	prices.GPUs["H100"] = seer.GPUPrice{PerSecond: 0.0005, MemoryGiB: 80}
	prices.CPU, prices.MemoryGiB = 0, 0 // included
	config := seer.SandboxConfig{GPU: "H100", Timeout: 12 * time.Hour, Budget: 9}
	plan, err := config.Plan(ctx, seer.WithBackend(seer.Modal()), seer.WithPrices(prices))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Timeout)
	// Output: 5h0m0s
}

// The cheapest GPU with room for a model of 60 GiB.
func ExampleListPrices() {
	cheapest := ""
	prices := seer.ListPrices()
	for name, gpu := range prices.GPUs {
		if gpu.MemoryGiB >= 60 && (cheapest == "" || gpu.PerSecond < prices.GPUs[cheapest].PerSecond) {
			cheapest = name
		}
	}
	fmt.Println(cheapest)
	// Output: A100-80GB
}

func ExamplePrintProgress() {
	ctx := context.Background()
	var file strings.Builder // os.Stderr, if this were no example
	progress := seer.PrintProgress(&file)
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithProgress(progress)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	fmt.Println(strings.Contains(file.String(), "create sandbox"))
	// Output: true
}
