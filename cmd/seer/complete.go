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

// completePlaces offers sandboxes once their prefix is typed, and files of this
// machine otherwise.
func completePlaces(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) >= 2 || !strings.HasPrefix(typed, idPrefix) || strings.Contains(typed, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	ids, directive := completeIDs(0)(cmd, nil, typed)
	for i, id := range ids {
		name, tags, _ := strings.Cut(id, "\t")
		ids[i] = cobra.CompletionWithDesc(name+":", tags)
	}
	return ids, directive | cobra.ShellCompDirectiveNoSpace
}
