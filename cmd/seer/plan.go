package main

import (
	"fmt"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan CONFIG",
		Short: "Show what a config would build, download and cost",
		Long: `Show what ` + "`seer up`" + ` would build, download and cost, without doing it. No backend
and no account is needed; the model hub is asked for sizes.`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := loadConfig(args[0])
		if err != nil {
			return err
		}
		plan, err := config.Plan(cmd.Context(), seer.WithBackend(seer.Modal()))
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), plan)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), plan)
		return err
	}
	return cmd
}
