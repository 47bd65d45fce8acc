package seer

import (
	"context"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

// PreloadModels prepares a kernel as notebook sessions do.
func (s *Sandbox) PreloadModels(ctx context.Context) (string, error) { return s.preloadModels(ctx) }

// NewModelStore is what a Start reads the models' volumes with.
func NewModelStore(client *modalclient.Client) modelcache.Store { return newModelStore(client) }

// WithPatience makes connections to a backend wait less, or more. It returns the same Backend.
func WithPatience(b Backend, patience modalclient.Patience) Backend {
	b.patience = patience
	return b
}
