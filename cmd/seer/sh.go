package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	seer "github.com/ajobi-uhc/seer-go"
)

//go:embed scripts/shell.sh
var shellScript string

//go:embed scripts/resize.sh
var resizeScript string

const resizeTimeout = 10 * time.Second

func newSh() *cobra.Command {
	return &cobra.Command{
		Use:   "sh ID",
		Short: "Open a shell in a sandbox",
		Long: `Open a login shell in a sandbox, in this terminal and in the directory
/workspace. The exit status is the shell's own.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeIDs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stdin, isFile := cmd.InOrStdin().(*os.File)
			if !isFile || !term.IsTerminal(int(stdin.Fd())) {
				return usageError{errors.New("standard input is no terminal: use `seer exec -i ID -- bash`")}
			}
			return withSandbox(cmd, args[0], func(ctx context.Context, sandbox *seer.Sandbox) error {
				return shell(ctx, cmd, sandbox, stdin)
			})
		},
	}
}

// shell runs a shell whose terminal follows this one.
func shell(ctx context.Context, cmd *cobra.Command, sandbox *seer.Sandbox, terminal *os.File) (err error) {
	fd := int(terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("prepare terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(fd, before)) }()

	mark := rand.Text()
	rows, columns := size(fd)
	remote := sandbox.Command("sh", "-c", shellScript, "seer-shell", mark, rows, columns)
	remote.PTY = true
	remote.Env = []string{"TERM=" + os.Getenv("TERM")}
	remote.Stdin, remote.Stdout = terminal, cmd.OutOrStdout()

	following, stop := context.WithCancel(ctx)
	defer stop()
	go followSize(following, func() {
		rows, columns := size(fd)
		ctx, cancel := context.WithTimeout(following, resizeTimeout)
		defer cancel()
		// A window that keeps its old size is no reason to end the shell.
		_ = sandbox.Command("sh", "-c", resizeScript, "seer-resize", mark, rows, columns).Run(ctx)
	})
	return remoteStatus(remote.Run(ctx))
}

func size(fd int) (rows, columns string) {
	width, height, err := term.GetSize(fd)
	if err != nil || width == 0 || height == 0 {
		width, height = 80, 24
	}
	return strconv.Itoa(height), strconv.Itoa(width)
}
