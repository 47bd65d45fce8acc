package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

func newModels() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models",
		Short: "Models that are cached on volumes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newModelsList(), newModelsRm(), newModelsPrune())
	return cmd
}

func newModelsList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List cached models, with their sizes and last use",
		Args:    cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := options(cmd)
		if err != nil {
			return err
		}
		found := []seer.CachedModel{}
		for model, err := range seer.ListModels(cmd.Context(), opts...) {
			if err != nil {
				return err
			}
			found = append(found, model)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), found)
		}
		return printModels(cmd.OutOrStdout(), found)
	}
	return cmd
}

func printModels(w io.Writer, models []seer.CachedModel) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MODEL\tCOMMIT\tSIZE\tLAST USED\tVOLUME")
	for _, m := range models {
		name, used := orDash(m.Name), "-"
		switch {
		case m.Hidden:
			name = "(hidden)"
		case !m.Complete:
			name = "(incomplete)"
		}
		if !m.LastUsed.IsZero() {
			used = time.Since(m.LastUsed).Round(time.Second).String() + " ago"
		}
		fmt.Fprintf(table, "%s\t%.12s\t%.1f MiB\t%s\t%s\n", shown.Line(name), orDash(m.Commit), float64(m.Bytes)/(1<<20), used, shown.Line(m.Volume))
	}
	return table.Flush()
}

func newModelsRm() *cobra.Command {
	return &cobra.Command{
		Use:   "rm MODEL...",
		Short: "Delete cached models",
		Long: `Delete cached models, each named by its ID on the hub (all its commits) or by
its volume. Sandboxes that have one mounted may fail to read it from then on.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			opts, err := options(cmd)
			if err != nil {
				return err
			}
			var errs []error
			for _, name := range names {
				errs = append(errs, seer.DeleteModel(cmd.Context(), name, opts...))
			}
			return errors.Join(errs...)
		},
	}
}
