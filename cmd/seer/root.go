package main

import (
	"context"
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
		Use:           "seer",
		Short:         "Sandboxes for agents, on Modal or on this machine",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String("app", "seer", "`name` of the Modal app that the sandboxes belong to")
	root.AddCommand(newUp(), newPs(), newExec(), newSh(), newCp(), newLogs(), newSnapshot(), newRestore(),
		newRm(), newReap(), newPlan(), newModels(), newMCP(), newLocal(), newVersion())
	markUsage(root)
	return root
}

// markUsage makes what is wrong with the arguments a usage error everywhere.
func markUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		markUsage(child)
	}
}
