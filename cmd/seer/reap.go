package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newReap() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "reap",
		Short: "End sandboxes whose program is gone",
		Long: `End the sandboxes that programs of this machine left behind: the program is
gone, it has not detached from them, and no lease keeps them. Their IDs are
printed.`,
		Args: cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only print which")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := options(cmd)
		if err != nil {
			return err
		}
		act := seer.Reap
		if dryRun {
			act = seer.Orphans
		}
		orphans, err := act(cmd.Context(), opts...)
		if *asJSON {
			return errors.Join(err, printJSON(cmd.OutOrStdout(), append([]seer.Info{}, orphans...)))
		}
		if len(orphans) == 0 && err == nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing was left behind")
		}
		return errors.Join(err, printIDs(cmd.OutOrStdout(), orphans))
	}
	return cmd
}
