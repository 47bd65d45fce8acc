//go:build !linux

package local

import (
	"context"
	"errors"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/isolation"
)

func start(context.Context, settings) (*running, error) {
	return nil, errors.New("it needs Linux: run this program on a Linux machine, or on Modal with MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")
}

// describe knows nothing: open says what is missing.
func describe() seer.Endpoint { return seer.Endpoint{} }

func isolate(context.Context, isolation.Spec) (isolation.Place, error) {
	return nil, errors.New("it needs Linux: run this program on a Linux machine, or give the agent a sandbox and a CLISession")
}
