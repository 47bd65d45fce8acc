package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newMCP() *cobra.Command {
	var sandboxID, session, uploads string
	cmd := &cobra.Command{
		Use:   "mcp --sandbox ID [--session NAME]",
		Short: "Serve a sandbox's tools to an agent over standard input and output",
		Long: `Serve a sandbox's tools to an agent over standard input and output, in the Model Context Protocol,
for clients that start a command. Without --session the tools are a shell, a Python interpreter and files; with it,
a notebook of that name, which grows in the sandbox and in ./outputs. The sandbox runs on when the client leaves.`,
		Example: `  {"mcpServers": {"sandbox": {"command": "seer", "args": ["mcp", "--sandbox", "sb-..."]}}}`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if sandboxID == "" {
				return usageError{errors.New("--sandbox is missing: give the ID of a running sandbox; `seer ps` lists them")}
			}
			return withSandbox(cmd, sandboxID, func(ctx context.Context, sandbox *seer.Sandbox) error {
				return serveMCP(ctx, cmd, sandbox, session, uploads)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&sandboxID, "sandbox", "", "`ID` of a running sandbox")
	flags.StringVar(&session, "session", "", "`name` of a notebook to work in, instead of a shell")
	flags.StringVar(&uploads, "uploads", "", "`directory` of this machine that the agent may upload files from (default none)")
	return cmd
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
		notebook, err := seer.NewNotebookSession(ctx, sandbox, nil, &seer.NotebookOptions{Name: session})
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
