package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
)

func newUp() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "up -f CONFIG",
		Short: "Start a sandbox and leave it running",
		Long: `Start the sandbox that a YAML or JSON file declares and leave it running until
its timeout. Progress goes to standard error; standard output gets the ID on
its first line, then the URLs of Jupyter, with its token, and VS Code, with its
password on the next line, if the config asks for them, and of each of
encrypted_ports.`,
		Example: `  seer up -f config.yaml
  id=$(seer up -f config.yaml | head -1)`,
		Args: cobra.NoArgs,
	}
	asJSON := addJSON(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "`config` of the sandbox (.yaml, .yml or .json)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			return usageError{errors.New("say which config with -f, such as `seer up -f config.yaml`")}
		}
		config, err := loadConfig(file)
		if err != nil {
			return err
		}
		return startAndLeave(cmd, config, *asJSON, func(ctx context.Context, opts ...seer.Option) (*seer.Sandbox, error) {
			return seer.NewSandbox(config, opts...).Start(ctx)
		})
	}
	return cmd
}

// loadConfig makes a file that cannot be read a config error too.
func loadConfig(path string) (seer.SandboxConfig, error) {
	config, err := seer.LoadConfig(path)
	var bad *seer.ConfigError
	if err != nil && !errors.As(err, &bad) {
		return config, configError{err}
	}
	return config, err
}

// reached says how to get at a sandbox that was left running.
type reached struct {
	ID             string         `json:"id"`
	Jupyter        string         `json:"jupyter,omitempty"` // URL with its token
	VSCode         string         `json:"vscode,omitempty"`  // URL, which asks for the password
	VSCodePassword string         `json:"vscode_password,omitempty"`
	Ports          map[int]string `json:"ports,omitempty"` // URL by port
}

func startAndLeave(cmd *cobra.Command, config seer.SandboxConfig, asJSON bool,
	start func(context.Context, ...seer.Option) (*seer.Sandbox, error),
) error {
	opts, err := options(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	sandbox, err := start(ctx, append(opts, seer.WithProgress(seer.PrintProgress(cmd.ErrOrStderr())))...)
	if err != nil {
		return err
	}
	r, err := reach(ctx, sandbox, config.EncryptedPorts)
	if err == nil {
		err = sandbox.Close()
	}
	if err != nil { // nobody would know of it
		return errors.Join(err, sandbox.Terminate(context.WithoutCancel(ctx)))
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	fmt.Fprintln(cmd.OutOrStdout(), r.ID)
	for _, service := range [][2]string{{"jupyter", r.Jupyter}, {"vscode", r.VSCode}, {"vscode password", r.VSCodePassword}} {
		if service[1] != "" {
			fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", service[0], service[1])
		}
	}
	for _, port := range config.EncryptedPorts {
		fmt.Fprintf(cmd.OutOrStdout(), "port %d\t%s\n", port, r.Ports[port])
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "it runs; `seer sh %s` opens a shell in it, `seer rm %s` ends it\n", r.ID, r.ID)
	return nil
}

func reach(ctx context.Context, sandbox *seer.Sandbox, ports []int) (reached, error) {
	r := reached{
		ID: sandbox.SandboxID(), Jupyter: sandbox.JupyterURL(),
		VSCode: sandbox.CodeServerURL(), VSCodePassword: sandbox.CodeServerPassword(),
	}
	for _, port := range ports {
		url, err := sandbox.URL(ctx, port)
		if err != nil {
			return r, err
		}
		if r.Ports == nil {
			r.Ports = map[int]string{}
		}
		r.Ports[port] = url
	}
	return r, nil
}
