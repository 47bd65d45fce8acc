// Notebook gives an agent a notebook in a sandbox: cells with results and
// pictures, a file that grows on both sides, a fork of it that runs again, and
// the configuration that an agent's client takes.
//
//	go run ./examples/notebook
//
// It needs Linux and no account. With SEER_BACKEND=modal it runs on Modal instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "notebook:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	config := seer.SandboxConfig{
		ExecutionMode:    seer.ModeNotebook,
		NotebookPackages: []string{"matplotlib"},
	}
	sandbox, err := seer.NewSandbox(config, seer.WithProgress(seer.PrintProgress(os.Stderr))).Start(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // the local backend ends it with the program
	say("a person may look on at %s", withoutToken(sandbox.JupyterURL()))

	outputs, err := os.MkdirTemp("", "seer-notebook-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(outputs)
	workspace := &seer.Workspace{CustomInitCode: "import math"}
	session, err := seer.NewNotebookSession(ctx, sandbox, workspace, &seer.NotebookOptions{Name: "squares", OutputDir: outputs})
	if err != nil {
		return err
	}
	defer session.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it ends with the sandbox anyway
	if err := work(ctx, session); err != nil {
		return err
	}
	say("an agent's client finds its tools under %v", slices.Collect(maps.Keys(session.MCPConfig())))
	if err := session.Close(ctx); err != nil {
		return err
	}

	say("a fork of the notebook runs its cells again")
	fork, err := seer.NewNotebookSession(ctx, sandbox, workspace, &seer.NotebookOptions{
		Fork: session.NotebookPath(), Name: "squares-forked", OutputDir: outputs,
	})
	if err != nil {
		return err
	}
	for i, again := range fork.Rerun() {
		fmt.Printf("  cell %d: %s\n", i+1, outcome(again.Err))
	}
	return fork.Close(ctx)
}

// work is what an agent would do.
func work(ctx context.Context, session *seer.NotebookSession) error {
	if _, err := session.AddMarkdown("# Roots of squares"); err != nil {
		return err
	}
	for _, code := range []string{
		"roots = [math.sqrt(n) for n in (1, 4, 9)]\nroots",
		"import matplotlib.pyplot as plt\nplt.plot(roots);",
		"math.sqrt(-1)",
	} {
		result, err := session.Exec(ctx, code)
		var raised *seer.KernelError
		if err != nil && !errors.As(err, &raised) {
			return err
		}
		fmt.Printf("  >>> %s\n", strings.ReplaceAll(code, "\n", "\n  ... "))
		if raised != nil {
			fmt.Printf("  %v\n", raised)
			continue
		}
		for _, image := range result.Images() {
			fmt.Printf("  a picture, %s\n", image.MIME)
		}
		if text := result.Text(); text != "" && len(result.Images()) == 0 {
			fmt.Printf("  %s\n", text)
		}
	}
	return nil
}

func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "as before"
}

// withoutToken is an address to show: the token is a secret.
func withoutToken(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.RawQuery = ""
	return u.String()
}

func say(format string, args ...any) { fmt.Printf("> "+format+"\n", args...) }
