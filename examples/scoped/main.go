// Scoped lets an agent call three functions in a sandbox, and nothing else.
//
//	go run ./examples/scoped
//
// It needs no account and no model. With SEER_BACKEND=modal it runs on Modal
// instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "scoped:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "seer-scoped-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	say("starting a scoped sandbox")
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}, seer.WithProgress(seer.PrintProgress(os.Stderr))).Start(ctx)
	if err != nil {
		return err
	}
	defer scoped.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // Terminate below reports; this is for early returns

	tools, err := scoped.Serve(ctx, interfaceFile(), &seer.ServeOptions{Name: "model_tools"})
	if err != nil {
		return err
	}
	say("what an agent is told:\n%s", indent(tools.Prompt()))

	say("the agent's session, on this machine, with the library:")
	session, err := seer.NewLocalSession(ctx, &seer.Workspace{Libraries: []seer.Library{tools.Library()}}, dir, nil)
	if err != nil {
		return err
	}
	defer session.Close(context.WithoutCancel(ctx)) //nolint:errcheck // its interpreter ends with this program anyway
	for _, code := range []string{
		"import model_tools\nprint(model_tools.get_embedding('king'))",
		"for word, likeness in model_tools.neighbours('king'):\n    print(f'{word:6} {likeness:.2f}')",
		"try:\n    model_tools.get_embedding('xyzzy')\nexcept KeyError as error:\n    print(type(error).__name__, error)",
		"print(hasattr(model_tools, 'norm'))",
	} {
		result, err := session.Exec(ctx, code)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n%s\n", indent(">>> "+strings.ReplaceAll(code, "\n", "\n... ")), indent(result.Text()))
	}

	say("typed calls from Go:")
	likeness, err := seer.CallAs[float64](ctx, tools, "similarity", map[string]any{"a": "king", "b": "queen"})
	if err != nil {
		return err
	}
	fmt.Printf("  king and queen: %.2f\n", likeness)

	for name, server := range tools.MCPConfig() {
		say("and for MCP clients: server %s at %s, with a token", name, server.URL)
	}
	say("terminating")
	return scoped.Terminate(ctx)
}

// interfaceFile lies beside this file, wherever the program is run from.
func interfaceFile() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "interface.py")
}

func say(format string, args ...any) { fmt.Printf("> "+format+"\n", args...) }

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}
