package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ajobi-uhc/seer-go/internal/dotenv"
	"github.com/ajobi-uhc/seer-go/local"
)

// tokenSecretVariable names the secret without showing it to whoever lists processes.
const tokenSecretVariable = "SEER_LOCAL_TOKEN_SECRET"

func newLocal() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "local",
		Short: "The backend that runs sandboxes on this machine",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLocalServe())
	return cmd
}

func newLocalServe() *cobra.Command {
	var options local.ServeOptions
	var secrets []string
	var certificate string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the local backend to the programs of this machine",
		Long: `Serve the local backend to the programs of this machine, until it is
interrupted. The lines printed on standard output make a shell's programs use
it. Its sandboxes outlive the programs that started them, and end with the
server; images, volumes and snapshots stay for the next one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.TokenSecret = cmp.Or(options.TokenSecret, os.Getenv(tokenSecretVariable))
			var err error
			if options.Secrets, err = readSecrets(secrets); err != nil {
				return err
			}
			options.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return serve(cmd, options, certificate)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Listen, "listen", "", "loopback `address` to serve on (default 127.0.0.1 and a free port)")
	flags.StringVar(&options.Dir, "dir", "", "`directory` of images, volumes and snapshots (default $SEER_HOME or the user's cache)")
	flags.StringVar(&options.TokenID, "token-id", "", "token `ID` that programs must present (default made up)")
	flags.StringVar(&options.TokenSecret, "token-secret", "", "its `secret`; $"+tokenSecretVariable+" keeps it out of the process list")
	flags.StringVar(&certificate, "certificate", "", "`file` to write the certificate of tunnels to, for REQUESTS_CA_BUNDLE and the like")
	flags.StringArrayVar(&options.AllowHosts, "allow-host", nil, "`IP:PORT` of this machine or its networks to open to sandboxes; may be repeated")
	flags.StringVar(&options.Advertise, "advertise", "", "`HOST:PORT` that clients are told for tunnels (default where each one listens)")
	flags.StringVar(&options.RegistryMirror, "registry-mirror", "", "`HOST:PORT` of the registry of images that name none (default Docker Hub)")
	flags.StringArrayVar(&secrets, "secret", nil, "`NAME=FILE`: a named secret and the .env file of its values; may be repeated")
	flags.StringArrayVar(&options.Proxies, "proxy", nil, "`name` of a proxy that exists; it changes no traffic; may be repeated")
	return cmd
}

// readSecrets reads NAME=FILE flags. Values are in files so that no list of
// processes shows them.
func readSecrets(flags []string) (map[string]map[string]string, error) {
	secrets := map[string]map[string]string{}
	for _, flag := range flags {
		name, file, ok := strings.Cut(flag, "=")
		if !ok || name == "" || file == "" {
			return nil, fmt.Errorf("secret %q: write NAME=FILE", name)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", name, err)
		}
		values, broken := dotenv.Parse(string(text), os.LookupEnv)
		if len(broken) > 0 {
			return nil, fmt.Errorf("read secret %s: %s:%d: no NAME=value, or a quote never closes", name, file, broken[0])
		}
		secrets[name] = values
	}
	return secrets, nil
}

func serve(cmd *cobra.Command, options local.ServeOptions, certificate string) (err error) {
	server, err := local.Serve(cmd.Context(), options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if certificate != "" {
		if err := os.WriteFile(certificate, server.Certificate(), 0o644); err != nil {
			return fmt.Errorf("keep certificate: %w", err)
		}
	}
	options.Logger.Info("serving", "url", server.URL())
	for _, variable := range server.Environ() {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), "export", variable); err != nil {
			return fmt.Errorf("print variables: %w", err)
		}
	}
	<-cmd.Context().Done()
	options.Logger.Info("ending every sandbox")
	return nil
}
