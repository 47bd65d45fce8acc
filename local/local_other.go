//go:build !linux

package local

import (
	"context"
	"errors"
	"log/slog"
)

func start(context.Context, string, []string, *slog.Logger) (*running, error) {
	return nil, errors.New("it needs Linux: run this program on a Linux machine, or on Modal with MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
}
