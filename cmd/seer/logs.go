package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newLogs() *cobra.Command {
	return &cobra.Command{
		Use:               "logs ID",
		Short:             "Follow what a sandbox's own command prints, until it ends",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeIDs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSandbox(cmd, args[0], func(ctx context.Context, sandbox *seer.Sandbox) error {
				for text, err := range sandbox.Logs(ctx) {
					if err != nil {
						return err
					}
					if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
