// Models declares a model of the HuggingFace hub, shows where its sandbox has
// it, and starts a second sandbox, which downloads nothing.
//
//	go run ./examples/models
//	go run ./examples/models -model sshleifer/tiny-gpt2
//
// It needs no account: the sandboxes run on this machine, unless Modal
// credentials are found. HF_TOKEN lets it use gated models, HF_ENDPOINT a mirror.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local"
)

func main() {
	model := flag.String("model", "sshleifer/tiny-gpt2", "`ID` of a model on the hub")
	hidden := flag.Bool("hidden", false, "keep its name from the sandbox")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	config := seer.SandboxConfig{Models: []seer.ModelConfig{{Name: *model, Hidden: *hidden}}}
	if err := run(ctx, os.Stdout, config, seer.WithProgress(seer.PrintProgress(os.Stderr))); err != nil {
		fmt.Fprintln(os.Stderr, "models:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, config seer.SandboxConfig, opts ...seer.Option) error {
	for _, turn := range []string{"first", "second"} {
		if err := show(ctx, out, turn, config, opts...); err != nil {
			return err
		}
	}
	return nil
}

func show(ctx context.Context, out io.Writer, turn string, config seer.SandboxConfig, opts ...seer.Option) error {
	began := time.Now()
	sandbox, err := seer.NewSandbox(config, opts...).Start(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // Terminate below reports; this is for early returns
	for _, model := range sandbox.ModelHandles() {
		listing, err := sandbox.Command("ls", "-l", model.Path).Output(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s sandbox, ready after %s: %s at commit %s is in %s\n%s",
			turn, time.Since(began).Round(time.Millisecond), model.VarName, model.Revision, model.Path, listing)
	}
	return sandbox.Terminate(ctx)
}
