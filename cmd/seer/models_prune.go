package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newModelsPrune() *cobra.Command {
	var dryRun bool
	var unused time.Duration
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete cached models that nobody used for long",
		Long: `Delete the cached models, and the downloads that were never finished, that no
program of this machine's user has used for a while. What others use, this
machine does not know: their next sandbox downloads it again. The models are
printed.`,
		Args: cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only print which")
	cmd.Flags().DurationVar(&unused, "unused-for", 30*24*time.Hour, "how long nobody has used them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := options(cmd)
		if err != nil {
			return err
		}
		before := time.Now().Add(-unused)
		old := []seer.CachedModel{}
		var errs []error
		for model, err := range seer.ListModels(cmd.Context(), opts...) {
			if err != nil {
				return err
			}
			if used := lastUse(model); used.IsZero() || used.After(before) {
				continue
			}
			if !dryRun {
				err = seer.DeleteModel(cmd.Context(), model.Volume, opts...)
			}
			if err == nil {
				old = append(old, model)
			}
			errs = append(errs, err)
		}
		if *asJSON {
			return errors.Join(append(errs, printJSON(cmd.OutOrStdout(), old))...)
		}
		return errors.Join(append(errs, printModels(cmd.OutOrStdout(), old))...)
	}
	return cmd
}

// lastUse is zero for a download that may have begun just now.
func lastUse(m seer.CachedModel) time.Time {
	if m.Created.After(m.LastUsed) {
		return m.Created
	}
	return m.LastUsed
}
