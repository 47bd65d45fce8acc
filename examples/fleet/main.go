// Fleet runs one experiment in several sandboxes at once, finds them again by
// their tags and ends them all.
//
//	go run ./examples/fleet
//
// It needs no account. With SEER_BACKEND=modal it runs on Modal instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local"
)

const sandboxes = 5

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	configs := make([]seer.SandboxConfig, sandboxes)
	for i := range configs {
		configs[i] = seer.SandboxConfig{
			SetupCommands: []string{"echo 'square() { echo $(($1 * $1)); }' >/opt/tools.sh"}, // one image for all
			Env:           map[string]string{"SEED": strconv.Itoa(i + 1)},
			Tags:          map[string]string{"experiment": "squares"},
		}
	}
	fleet, err := seer.StartAll(ctx, configs, 3)
	defer fleet.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // Terminate below reports; this is for early returns
	if err != nil {
		return err
	}

	results := make([]string, len(fleet))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, member := range fleet {
		group.Go(func() (err error) {
			results[i], err = member.Sandbox.Exec(groupCtx, ". /opt/tools.sh; square $SEED")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	fmt.Println("results:", strings.Join(strings.Fields(strings.Join(results, "")), " "))

	running := 0
	for info, err := range seer.List(ctx, seer.Filter{Tags: map[string]string{"experiment": "squares"}, Owner: seer.CurrentOwner()}) {
		if err != nil {
			return err
		}
		running++
		fmt.Println("running:", info.ID, info.Program)
	}
	fmt.Println("ending", running)
	return fleet.Terminate(ctx)
}
