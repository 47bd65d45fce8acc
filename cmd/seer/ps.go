package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// filterFlags choose sandboxes.
type filterFlags struct {
	mine      bool
	program   string
	olderThan time.Duration
	tags      []string
}

func (f *filterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.mine, "mine", f.mine, "only those that this user started on this machine")
	flags.StringVar(&f.program, "program", "", "only those that a program of this `name` started")
	flags.DurationVar(&f.olderThan, "older-than", 0, "only those that are at least this old, such as 90m")
	flags.StringArrayVar(&f.tags, "tag", nil, "only those with this tag, as `NAME=VALUE`; may be repeated")
}

func (f *filterFlags) filter() (seer.Filter, error) {
	tags, err := assignments("tag", f.tags)
	filter := seer.Filter{Program: f.program, OlderThan: f.olderThan, Tags: tags}
	if f.mine {
		filter.Owner = seer.CurrentOwner()
	}
	return filter, err
}

// find returns the sandboxes that the flags choose, newest first.
func (f *filterFlags) find(cmd *cobra.Command) ([]seer.Info, []seer.Option, error) {
	filter, err := f.filter()
	if err != nil {
		return nil, nil, err
	}
	opts, err := options(cmd)
	if err != nil {
		return nil, nil, err
	}
	found := []seer.Info{}
	for info, err := range seer.List(cmd.Context(), filter, opts...) {
		if err != nil {
			return nil, nil, err
		}
		found = append(found, info)
	}
	return found, opts, nil
}

func newPs() *cobra.Command {
	var flags filterFlags
	var quiet bool
	cmd := &cobra.Command{
		Use:     "ps",
		Aliases: []string{"list"},
		Short:   "List running sandboxes",
		Args:    cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	flags.add(cmd)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, _, err := flags.find(cmd)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(cmd.OutOrStdout(), found)
		case quiet:
			return printIDs(cmd.OutOrStdout(), found)
		default:
			return printTable(cmd.OutOrStdout(), found)
		}
	}
	return cmd
}

func printIDs(w io.Writer, found []seer.Info) error {
	for _, info := range found {
		if _, err := fmt.Fprintln(w, info.ID); err != nil {
			return err
		}
	}
	return nil
}

func printTable(w io.Writer, found []seer.Info) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tAGE\tOWNER\tPROGRAM\tLEASE\tTAGS")
	for _, info := range found {
		age := time.Since(info.CreatedAt).Round(time.Second)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", info.ID, age, orDash(info.Owner), orDash(info.Program), lease(info), orDash(tagList(info.Tags)))
	}
	return table.Flush()
}

func lease(info seer.Info) string {
	switch {
	case info.Detached:
		return "detached"
	case info.Lease == 0:
		return "none"
	default:
		return info.Lease.String()
	}
}

func tagList(tags map[string]string) string {
	pairs := make([]string, 0, len(tags))
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		pairs = append(pairs, name+"="+tags[name])
	}
	return strings.Join(pairs, ",")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return shown.Line(text)
}
