package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newRm() *cobra.Command {
	var flags filterFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "rm {ID... | --all}",
		Short: "End sandboxes",
		Long: `End sandboxes, and everything in them. With --all, all that the other flags
choose. Those that have ended already are no error.`,
		ValidArgsFunction: completeIDs(0),
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all that the other flags choose")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if all == (len(ids) > 0) {
			return usageError{errors.New("give IDs, or --all")}
		}
		opts, err := options(cmd)
		if err != nil {
			return err
		}
		if all {
			found, _, err := flags.find(cmd)
			if err != nil {
				return err
			}
			for _, info := range found {
				ids = append(ids, info.ID)
			}
		}
		err = seer.TerminateAll(cmd.Context(), ids, opts...)
		if err == nil && all {
			fmt.Fprintf(cmd.ErrOrStderr(), "ended %d\n", len(ids))
		}
		return err
	}
	return cmd
}
