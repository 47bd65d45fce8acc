package main

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newCp() *cobra.Command {
	return &cobra.Command{
		Use:   "cp SOURCE TARGET",
		Short: "Copy files into or out of a sandbox",
		Long: `Copy a file or a directory tree. One of the two is ID:/absolute/path, the other
a path of this machine. The target is the new path itself; one that ends in a
slash, "." or ".." is a directory to put the source into.`,
		Example: `  seer cp ./data sb-0123:/workspace/data
  seer cp sb-0123:/workspace/results.csv .`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completePlaces,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := parsePlace(args[0]), parsePlace(args[1])
			to.path = into(to.path, path.Base(filepath.ToSlash(from.path)))
			switch {
			case from.id == "" && to.id != "":
				return withSandbox(cmd, to.id, func(ctx context.Context, sandbox *seer.Sandbox) error {
					return sandbox.Upload(ctx, from.path, to.path)
				})
			case from.id != "" && to.id == "":
				return withSandbox(cmd, from.id, func(ctx context.Context, sandbox *seer.Sandbox) error {
					return sandbox.Download(ctx, from.path, to.path)
				})
			default:
				return usageError{errors.New("give one path of a sandbox, as ID:/path, and one of this machine")}
			}
		},
	}
}

// into is the path of what is copied to a target under its own name.
func into(target, name string) string {
	switch last := path.Base(filepath.ToSlash(target)); {
	case target == "":
		return target
	case last == ".", last == "..", os.IsPathSeparator(target[len(target)-1]), strings.HasSuffix(target, "/"):
		return path.Join(filepath.ToSlash(target), name)
	}
	return target
}

// idPrefix begins every sandbox's ID.
const idPrefix = "sb-"

// place is a path of a sandbox or, without an ID, of this machine.
type place struct{ id, path string }

// parsePlace takes what begins like a sandbox's ID for one: other names may
// have colons too.
func parsePlace(text string) place {
	id, path, found := strings.Cut(text, ":")
	if found && strings.HasPrefix(id, idPrefix) && !strings.ContainsAny(id, `/\`) {
		return place{id: id, path: path}
	}
	return place{path: text}
}
