package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newExec() *cobra.Command {
	var stdin bool
	var dir string
	var env []string
	cmd := &cobra.Command{
		Use:   "exec [flags] ID -- COMMAND [ARG...]",
		Short: "Run a command in a sandbox",
		Long: `Run a command in a sandbox, with its output here. No shell sees the arguments.
The exit status is the command's own; 128 and the signal's number when a
signal ended it.`,
		Example: `  seer exec ID -- python -c 'print(6 * 7)'
  seer exec -i ID -- bash <script.sh`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeIDs(1),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&stdin, "interactive", "i", false, "pass standard input on")
	flags.StringVarP(&dir, "dir", "C", "", "`directory` to run in (default the sandbox's)")
	flags.StringArrayVarP(&env, "env", "e", nil, "variable for the command, as `NAME=VALUE`; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, argv := args[0], args[1:]
		if argv[0] == "--" {
			argv = argv[1:]
		}
		if len(argv) == 0 {
			return usageError{errors.New("no command given")}
		}
		if _, err := assignments("env", env); err != nil {
			return err
		}
		return withSandbox(cmd, id, func(ctx context.Context, sandbox *seer.Sandbox) error {
			remote := sandbox.Command(argv[0], argv[1:]...)
			remote.Dir, remote.Env = dir, env
			remote.Stdout, remote.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if stdin {
				remote.Stdin = cmd.InOrStdin()
			}
			return remoteStatus(remote.Run(ctx))
		})
	}
	return cmd
}

// remoteStatus passes on how a remote command ended.
func remoteStatus(err error) error {
	var exit *seer.ExitError
	if errors.As(err, &exit) {
		return statusError(exit.Code)
	}
	return err
}
