// Local shows the sessions of an agent that need no notebook: a Python
// interpreter on this machine, with a library, a skill and files, and the same
// workspace in a sandbox, beside a shell.
//
//	go run ./examples/local
//
// It needs Linux and python3, and no account.
package main

import (
	"context"
	"encoding/json"
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
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	workspace, err := workspace()
	if err != nil {
		return err
	}
	say("what the agent is told of its libraries:\n%s", indent(workspace.LibraryDocs()))
	if err := onThisMachine(ctx, workspace); err != nil {
		return err
	}
	return inSandbox(ctx, workspace)
}

// workspace is what the agent finds, wherever it works.
func workspace() (*seer.Workspace, error) {
	project := projectDir()
	statistics, err := seer.LibraryFromFile(filepath.Join(project, "averages.py"))
	if err != nil {
		return nil, err
	}
	return &seer.Workspace{
		Libraries:      []seer.Library{statistics},
		LocalFiles:     []seer.Mount{{Source: filepath.Join(project, "numbers.csv"), Target: "data/numbers.csv"}},
		Skills:         []seer.Skill{{Name: "averaging", Description: "Use to summarise a column of numbers.", Content: "Call `averages.summary(path)`.\n"}},
		CustomInitCode: "import averages",
	}, nil
}

func onThisMachine(ctx context.Context, workspace *seer.Workspace) error {
	dir, err := os.MkdirTemp("", "seer-local-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	session, err := seer.NewLocalSession(ctx, workspace, dir, nil)
	if err != nil {
		return err
	}
	defer session.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it ends with the program anyway
	say("a session on this machine:")
	if err := work(ctx, session); err != nil {
		return err
	}
	config := session.MCPConfig()
	for _, server := range config {
		server.Headers["Authorization"] = "Bearer ..." // a secret
	}
	shown, err := json.Marshal(config)
	if err != nil {
		return err
	}
	say("an agent's client reaches it with this configuration:\n  %s", shown)
	return nil
}

func inSandbox(ctx context.Context, workspace *seer.Workspace) error {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // the local backend ends it with the program
	session, err := seer.NewCLISession(ctx, sandbox, workspace, nil)
	if err != nil {
		return err
	}
	defer session.Close(context.WithoutCancel(ctx)) //nolint:errcheck // as above
	say("a session in a sandbox, on %s:", sandbox.Backend())
	if err := work(ctx, session); err != nil {
		return err
	}
	out, err := session.Shell(ctx, "ls -A; cat .claude/skills/*/SKILL.md")
	if err != nil {
		return err
	}
	say("its shell:\n%s", indent(out))
	return session.Close(ctx)
}

// work is what an agent would do, on any session.
func work(ctx context.Context, session seer.Session) error {
	for _, code := range []string{
		"result = averages.summary('data/numbers.csv')",
		"result",
		"print('as shares:', [round(x / result['sum'], 2) for x in averages.column('data/numbers.csv')])",
		"averages.summary('missing.csv')",
	} {
		result, err := session.Exec(ctx, code)
		fmt.Printf("  >>> %s\n", code)
		if err != nil {
			fmt.Printf("  %v\n", err)
			continue
		}
		if text := result.Text(); text != "" {
			fmt.Println(indent(text))
		}
	}
	return nil
}

func projectDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "project")
}

func say(format string, args ...any) { fmt.Printf("> "+format+"\n", args...) }

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}
