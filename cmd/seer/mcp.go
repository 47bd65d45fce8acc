package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newMCP() *cobra.Command {
	var sandboxID, session, uploads string
	var manage bool
	var timeout time.Duration
	filter := filterFlags{mine: true}
	cmd := &cobra.Command{
		Use:   "mcp {--sandbox ID | --manage}",
		Short: "Serve a sandbox's tools, or tools to manage sandboxes, to an agent over standard input and output",
		Long: `Serve tools to an agent over standard input and output, in the Model Context
Protocol, for clients that start a command. Sandboxes run on when the client
leaves.

With --sandbox the agent works in one sandbox: a shell, a Python interpreter and
files; with --session too, a notebook of that name, which grows in the sandbox
and in ./outputs. One that is there already is gone on with: its cells are run
again, so that a client that starts the command anew finds its variables.

With --manage it looks after the running ones: list, info, run a command, read
and write files, snapshot, terminate. It reaches those of --app that the other
flags choose, and no others.`,
		Example: `  {"mcpServers": {"sandbox": {"command": "seer", "args": ["mcp", "--sandbox", "sb-..."]}}}
  {"mcpServers": {"fleet": {"command": "seer", "args": ["mcp", "--manage"]}}}`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&sandboxID, "sandbox", "", "`ID` of a running sandbox to work in")
	flags.StringVar(&session, "session", "", "with --sandbox: `name` of a notebook to work in, instead of a shell")
	flags.StringVar(&uploads, "uploads", "", "with --sandbox: `directory` of this machine that the agent may upload files from (default none)")
	flags.BoolVar(&manage, "manage", false, "manage running sandboxes")
	flags.DurationVar(&timeout, "timeout", 10*time.Minute, "with --manage: how long each call may take")
	filter.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("sandbox", completeIDs(0)) // the flag is there
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkMCPFlags(cmd, sandboxID, manage); err != nil {
			return usageError{err}
		}
		if manage {
			return serveManager(cmd, filter, timeout)
		}
		return withSandbox(cmd, sandboxID, func(ctx context.Context, sandbox *seer.Sandbox) error {
			return serveMCP(ctx, cmd, sandbox, session, uploads)
		})
	}
	return cmd
}

// checkMCPFlags refuses flags that would have no effect.
func checkMCPFlags(cmd *cobra.Command, sandboxID string, manage bool) error {
	if (sandboxID != "") == manage {
		return errors.New("give either --sandbox with the ID of a running sandbox (`seer ps` lists them) or --manage")
	}
	idle, other := []string{"mine", "program", "older-than", "tag", "timeout"}, "--manage"
	if manage {
		idle, other = []string{"session", "uploads"}, "--sandbox"
	}
	for _, name := range idle {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s goes with %s", name, other)
		}
	}
	return nil
}

func serveManager(cmd *cobra.Command, flags filterFlags, timeout time.Duration) (err error) {
	if timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v: give a time such as 10m", timeout)}
	}
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	opts, err := options(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	manager, err := seer.NewManager(ctx, &seer.ManagerOptions{Filter: filter, Timeout: timeout}, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.Close(context.WithoutCancel(ctx))) }()
	return manager.ServeMCP(ctx, cmd.InOrStdin(), cmd.OutOrStdout())
}

// notebookOptions begin a notebook, or go on with the one of this name.
func notebookOptions(name string) *seer.NotebookOptions {
	file := filepath.Join("outputs", strings.TrimSuffix(name, ".ipynb")+".ipynb")
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		return &seer.NotebookOptions{Resume: file}
	}
	return &seer.NotebookOptions{Name: name}
}

func serveMCP(ctx context.Context, cmd *cobra.Command, sandbox *seer.Sandbox, session, uploads string) (err error) {
	var served interface {
		Close(context.Context) error
	}
	defer func() {
		if served != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, served.Close(ctx))
		}
	}()
	if session != "" {
		notebook, err := seer.NewNotebookSession(ctx, sandbox, nil, notebookOptions(session))
		if err != nil {
			return err
		}
		served = notebook
		return notebook.ServeMCP(ctx, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	shell, err := seer.NewCLISession(ctx, sandbox, nil, &seer.CLIOptions{UploadDir: uploads})
	if err != nil {
		return err
	}
	served = shell
	return shell.ServeMCP(ctx, cmd.InOrStdin(), cmd.OutOrStdout())
}
