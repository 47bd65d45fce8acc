package seer_test

import (
	"context"
	"fmt"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
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
