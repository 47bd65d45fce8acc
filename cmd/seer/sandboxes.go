package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// errEmbedded is why this command does not use the embedded backend: its
// sandboxes would end with the command.
var errEmbedded = errors.New("no backend that outlives this command: run `seer local serve` and export the lines that it prints, " +
	"or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET to use Modal")

// options say where the command's sandboxes are: on Modal, or a server that
// MODAL_SERVER_URL names. Looking at a sandbox must not renew its lease.
func options(cmd *cobra.Command) ([]seer.Option, error) {
	switch choice := os.Getenv("SEER_BACKEND"); choice {
	case "", "auto", "modal", "local":
	default:
		return nil, usageError{fmt.Errorf("SEER_BACKEND=%s: write auto, modal or local", choice)}
	}
	if os.Getenv("SEER_BACKEND") == "local" || !modalclient.HasCredentials() {
		return nil, errEmbedded
	}
	app, err := cmd.Flags().GetString("app")
	if err != nil {
		return nil, err
	}
	return []seer.Option{
		seer.WithBackend(seer.Modal()),
		seer.WithAppName(app),
		seer.WithLogger(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))),
	}, nil
}

// withSandbox connects to a running sandbox for as long as use takes.
func withSandbox(cmd *cobra.Command, id string, use func(context.Context, *seer.Sandbox) error) (err error) {
	opts, err := options(cmd)
	if err != nil {
		return err
	}
	sandbox, err := seer.FromID(cmd.Context(), id, append(opts, seer.WithLease(-1))...)
	if errors.Is(err, seer.ErrNotFound) {
		return fmt.Errorf("%w; `seer ps` lists those that run", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sandbox.Close()) }()
	return use(cmd.Context(), sandbox)
}

// addJSON gives a command the flag that scripts want.
func addJSON(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// assignments reads repeated NAME=VALUE flags.
func assignments(flag string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	values := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--%s %q: write NAME=VALUE", flag, pair)}
		}
		values[name] = value
	}
	return values, nil
}
