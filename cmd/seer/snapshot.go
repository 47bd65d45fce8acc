package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newSnapshot() *cobra.Command {
	var description, file string
	cmd := &cobra.Command{
		Use:   "snapshot ID",
		Short: "Save a sandbox's file system",
		Long: `Save a sandbox's file system as it is now, and print the snapshot as JSON. Keep
it: ` + "`seer restore`" + ` takes it. The sandbox runs on.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeIDs(1),
	}
	cmd.Flags().StringVarP(&description, "message", "m", "", "`text` to keep with the snapshot")
	cmd.Flags().StringVarP(&file, "output", "o", "", "`file` to write it to (default standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withSandbox(cmd, args[0], func(ctx context.Context, sandbox *seer.Sandbox) error {
			snapshot, err := sandbox.Snapshot(ctx, description)
			if err != nil {
				return err
			}
			if file == "" {
				return printJSON(cmd.OutOrStdout(), snapshot)
			}
			text, err := json.MarshalIndent(snapshot, "", "  ")
			if err == nil {
				err = os.WriteFile(file, append(text, '\n'), 0o600)
			}
			if err != nil {
				return fmt.Errorf("write snapshot %s: %w", snapshot.ImageID, err)
			}
			return nil
		})
	}
	return cmd
}

func newRestore() *cobra.Command {
	var file string
	var refresh bool
	var env []string
	cmd := &cobra.Command{
		Use:   "restore SNAPSHOT",
		Short: "Start a sandbox on a saved file system and leave it running",
		Long: `Start a sandbox on the file system that a snapshot file describes, and leave it
running, as ` + "`seer up`" + ` does. "-" reads the snapshot from standard input.

A snapshot has no values of the config's env, but for programs that started the
sandbox themselves: a warning names those that are missing, and --env sets them.
One of a sandbox that somebody else started says nothing of what it may have,
and is restored with -f alone.`,
		Example: `  seer restore snapshot.json --env MODE=fast --env API_KEY
  seer restore snapshot.json -f config.yaml`,
		Args: cobra.ExactArgs(1),
	}
	asJSON := addJSON(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "`config` of the new sandbox (default the snapshot's own)")
	cmd.Flags().StringArrayVarP(&env, "env", "e", nil, "`NAME=VALUE` to set in the sandbox, or NAME to pass this command's own; may be repeated")
	cmd.Flags().BoolVar(&refresh, "refresh-files", false, "copy the config's local files and directories again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		snapshot, err := readSnapshot(cmd, args[0])
		if err != nil {
			return err
		}
		config := snapshot.Config
		if file != "" {
			if config, err = loadConfig(file); err != nil {
				return err
			}
		}
		if config.Env, err = withEnv(config.Env, env); err != nil {
			return err
		}
		return startAndLeave(cmd, config, *asJSON, func(ctx context.Context, opts ...seer.Option) (*seer.Sandbox, error) {
			if refresh {
				opts = append(opts, seer.WithRefreshedFiles())
			}
			sandbox, err := seer.FromSnapshot(ctx, snapshot, config, opts...)
			if errors.Is(err, seer.ErrUnverified) {
				err = fmt.Errorf("%w with -f", err)
			}
			return sandbox, err
		})
	}
	return cmd
}

// withEnv adds what --env flags say to the variables of a config.
func withEnv(env map[string]string, flags []string) (map[string]string, error) {
	if len(flags) == 0 {
		return env, nil
	}
	merged := maps.Clone(env)
	if merged == nil {
		merged = map[string]string{}
	}
	for _, flag := range flags {
		name, value, given := strings.Cut(flag, "=")
		if !given {
			value, given = os.LookupEnv(name)
		}
		if name == "" || !given {
			return nil, usageError{fmt.Errorf("--env %s: write NAME=VALUE, or the NAME of a variable that is set here", name)}
		}
		merged[name] = value
	}
	return merged, nil
}

func readSnapshot(cmd *cobra.Command, path string) (*seer.Snapshot, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, configError{fmt.Errorf("read snapshot: %w", err)}
		}
		defer file.Close()
		in = file
	}
	var snapshot seer.Snapshot
	if err := json.NewDecoder(in).Decode(&snapshot); err != nil {
		return nil, configError{fmt.Errorf("read snapshot %s: it is not what `seer snapshot` prints: %w", path, err)}
	}
	if snapshot.ImageID == "" {
		return nil, configError{fmt.Errorf("read snapshot %s: it is not what `seer snapshot` prints: it has no image_id", path)}
	}
	return &snapshot, nil
}
