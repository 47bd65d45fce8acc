package seer

import "context"

// PreloadModels prepares a kernel as notebook sessions do.
func (s *Sandbox) PreloadModels(ctx context.Context) (string, error) { return s.preloadModels(ctx) }
