package seer_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

func ExampleStartAll() {
	ctx := context.Background()
	configs := []seer.SandboxConfig{
		{Tags: map[string]string{"experiment": "squares"}, Env: map[string]string{"N": "2"}},
		{Tags: map[string]string{"experiment": "squares"}, Env: map[string]string{"N": "3"}},
	}
	fleet, err := seer.StartAll(ctx, configs, 8)
	defer fleet.Terminate(context.WithoutCancel(ctx)) // those that did start
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, sandbox := range fleet.Sandboxes() {
		out, err := sandbox.Exec(ctx, "echo $((N * N))")
		fmt.Print(out)
		if err != nil {
			fmt.Println(err)
		}
	}
	mine := seer.Filter{Owner: seer.CurrentOwner(), Tags: map[string]string{"experiment": "squares"}}
	running := 0
	for _, err := range seer.List(ctx, mine) {
		if err != nil {
			fmt.Println(err)
			return
		}
		running++
	}
	fmt.Println(running, "running")
	// Output:
	// 4
	// 9
	// 2 running
}

func ExampleSandbox_FinalSnapshot() {
	ctx := context.Background()
	config := seer.SandboxConfig{
		Timeout:           time.Hour,                 // or what MaxLifetime or Budget leave of it
		SnapshotBeforeEnd: time.Hour - 2*time.Second, // 10 * time.Minute, if this were no example
	}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	if err := sandbox.Wait(ctx); err == nil { // until the time is over
		fmt.Println("it ended without a reason")
	}
	restored, err := seer.FromSnapshot(ctx, sandbox.FinalSnapshot(), seer.SandboxConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restored.Terminate(ctx)
	fmt.Println("it goes on")
	// Output: it goes on
}

func ExampleSandboxConfig_Plan() {
	ctx := context.Background()
	config := seer.SandboxConfig{GPU: "H100", Timeout: 12 * time.Hour, Budget: 20}
	plan, err := config.Plan(ctx, seer.WithBackend(seer.Modal()), seer.WithPrices(seer.Prices{
		AsOf: "2030-01", Source: "our contract", GPUs: map[string]seer.GPUPrice{"H100": {PerSecond: 0.001, MemoryGiB: 80}},
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Timeout, plan.Cost)
	// Output: 5h33m20s about $0.0600 to start, $3.6000 an hour, $20.00 at most (our contract, 2030-01)
}

func ExampleList() {
	ctx := context.Background()
	config := seer.SandboxConfig{Tags: map[string]string{"experiment": "probes", "seed": "1"}}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	// Another program, or another machine, may ask this.
	for info, err := range seer.List(ctx, seer.Filter{Tags: map[string]string{"experiment": "probes"}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("seed", info.Tags["seed"], "runs, on", info.ID == sandbox.SandboxID())
	}
	// Output: seed 1 runs, on true
}

func ExampleCurrentOwner() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	mine, others := 0, 0
	for info, err := range seer.List(ctx, seer.Filter{}) {
		switch {
		case err != nil:
			fmt.Println(err)
			return
		case info.Owner == seer.CurrentOwner():
			mine++
		default:
			others++
		}
	}
	fmt.Println(mine, "mine,", others, "of others")
	// Output: 1 mine, 0 of others
}

// Ends what earlier programs closed and left running.
func ExampleTerminateAll() {
	ctx := context.Background()
	for range 3 {
		sandbox := started(ctx)
		if err := sandbox.Close(); err != nil {
			fmt.Println(err)
			return
		}
	}

	var ids []string
	for info, err := range seer.List(ctx, seer.Filter{Owner: seer.CurrentOwner()}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if info.Detached {
			ids = append(ids, info.ID)
		}
	}
	err := seer.TerminateAll(ctx, ids)
	var failed *seer.SandboxError
	if errors.As(err, &failed) {
		fmt.Println(failed.SandboxID, "may still run")
	}
	fmt.Println(len(ids), "ended", err)
	// Output: 3 ended <nil>
}

// forgotten is a server where a program that was killed has left a sandbox.
func forgotten(ctx context.Context) (*local.Server, seer.Backend, error) {
	server, err := local.Serve(ctx, local.ServeOptions{TokenID: "ak-x", TokenSecret: "as-x"})
	if err != nil {
		return nil, seer.Backend{}, err
	}
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{ServerURL: server.URL(), TokenID: "ak-x", TokenSecret: "as-x"}, nil
	}, nil)
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), forgetfulURL+"="+server.URL(), forgetfulLease+"=-1s")
	stdout, err := program.StdoutPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		return nil, seer.Backend{}, errors.Join(err, server.Close())
	}
	_, err = bufio.NewReader(stdout).ReadString('\n') // the sandbox runs
	err = errors.Join(err, program.Process.Kill())
	_ = program.Wait() // killed
	return server, backend, err
}

func ExampleReap() {
	ctx := context.Background()
	server, backend, err := forgotten(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	orphans, err := seer.Orphans(ctx, seer.WithBackend(backend)) // a look before
	if err != nil {
		fmt.Println(err)
	}
	for _, info := range orphans {
		fmt.Println("mine:", info.Owner == seer.CurrentOwner())
	}
	ended, err := seer.Reap(ctx, seer.WithBackend(backend))
	fmt.Println(len(ended), "ended", err)
	// Output:
	// mine: true
	// 1 ended <nil>
}

// An agent looks after the sandboxes of one experiment, and no others.
func ExampleNewManager() {
	ctx := context.Background()
	manager, err := seer.NewManager(ctx, &seer.ManagerOptions{
		Filter: seer.Filter{Owner: seer.CurrentOwner(), Tags: map[string]string{"experiment": "squares"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer manager.Close(ctx)

	config, err := json.Marshal(map[string]any{"mcpServers": manager.MCPConfig()})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "agent-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	fmt.Println(os.WriteFile(filepath.Join(dir, ".mcp.json"), config, 0o600)) // it holds a token
	// Output: <nil>
}
