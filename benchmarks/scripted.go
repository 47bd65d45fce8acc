//go:build linux

package main

import (
	"context"
	"io"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// scriptedWorld runs no process: every command but cat prints a line and ends at once.
func scriptedWorld() (*world, error) {
	return newWorld(scripted.New(func(_ context.Context, e scripted.Exec) scripted.Result {
		command, err := modalclient.Unwrap(e.Args, e.Stdin)
		if err != nil {
			return scripted.Result{Code: 125}
		}
		if len(e.Args) != len(command.Args) { // seer's own have an input that ends
			_, _ = io.Copy(io.Discard, command.Stdin)
		}
		if command.Args[0] == "cat" { // there are no files
			_, _ = io.WriteString(e.Stderr, "cat: No such file or directory\n")
			return scripted.Result{Code: 1}
		}
		_, _ = io.WriteString(e.Stdout, "hi\n")
		return scripted.Result{}
	}))
}
