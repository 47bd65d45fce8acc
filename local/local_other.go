//go:build !linux

package local

import (
	"context"
	"errors"
)

func start(context.Context, settings) (*running, error) {
	return nil, errors.New("it needs Linux: run this program on a Linux machine, or on Modal with MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
}
