package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, std streams) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	return exitCode(root.ExecuteContext(ctx), std.err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "seer",
		Short: "Sandboxes for agents, on Modal or on this machine",
		Example: `  seer local serve          # on this machine, in a terminal of its own; on Modal, not needed
  seer up -f config.yaml    # prints the sandbox's ID
  seer exec ID -- python --version
  seer rm ID`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.PersistentFlags().String("app", "seer", "`name` of the Modal app that the sandboxes belong to")
	root.AddCommand(newUp(), newPs(), newExec(), newSh(), newCp(), newLogs(), newSnapshot(), newRestore(),
		newRm(), newReap(), newPlan(), newModels(), newMCP(), newLocal(), newVersion())
	markUsage(root)
	return root
}

// markUsage makes what is wrong with the arguments a usage error everywhere,
// and has it say what is right.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			switch {
			case err != nil && cmd.HasSubCommands():
				return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
			case err != nil:
				return usageError{fmt.Errorf("%w; write: %s", err, cmd.UseLine())}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		markUsage(child)
	}
}
