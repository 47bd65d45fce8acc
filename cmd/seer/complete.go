package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

// completionTimeout is how long a shell may wait for the IDs of sandboxes.
const completionTimeout = 3 * time.Second

// completeIDs offers the running sandboxes as an argument: at most so many of
// them, 0 for any number.
func completeIDs(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveDefault
		}
		opts, err := options(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var ids []cobra.Completion
		for info, err := range seer.List(ctx, seer.Filter{}, opts...) {
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			if strings.HasPrefix(info.ID, typed) && !slices.Contains(args, info.ID) {
				ids = append(ids, cobra.CompletionWithDesc(info.ID, tagList(info.Tags)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
