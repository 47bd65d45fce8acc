package seer

import (
	"context"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// askTimeout bounds each thing that a plan asks the backend or the hub: it can
// do without an answer.
const askTimeout = 10 * time.Second

// planCaches asks a backend what it has already, and makes nothing there. One
// that cannot be reached knows nothing.
type planCaches struct {
	sandbox *Sandbox
	backend *backend
	client  *modalclient.Client // nil = there is nobody to ask
	hub     *modelHub           // nil likewise
}

// openPlanCaches connects to a backend; nil = there is none.
func (s *Sandbox) openPlanCaches(ctx context.Context, b *backend, lookup secretLookup) *planCaches {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	p := &planCaches{sandbox: s, backend: b}
	if b == nil {
		return p
	}
	client, _, err := b.acquire(ctx, s.opts.logger)
	if err != nil {
		p.pass(ctx, err)
		return p
	}
	p.client = client
	if len(s.config.Models) > 0 {
		p.hub, err = newModelHub(client, lookup, b.name, s.opts.logger, nil)
		p.pass(ctx, err)
	}
	return p
}

func (p *planCaches) close(ctx context.Context) {
	if p.hub != nil {
		p.hub.close()
	}
	if p.client != nil {
		p.pass(ctx, p.backend.release())
	}
}

// layers says of each layer whether it is there. Those above one that is not
// are not either.
func (p *planCaches) layers(ctx context.Context, planned plan.Plan) []string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cached := make([]string, len(planned.Layers))
	for i := range cached {
		cached[i] = PlanUnknown
	}
	if p.client == nil {
		return cached
	}
	n, err := p.client.CachedLayers(ctx, planned.Base, wireLayers(planned.Layers))
	for i := range cached {
		switch {
		case i < n:
			cached[i] = PlanYes
		case err == nil:
			cached[i] = PlanNo
		}
	}
	p.pass(ctx, err)
	return cached
}

// model says whether the model of a volume is there, whole, at a commit.
func (p *planCaches) model(ctx context.Context, volume plan.Volume, repository, commit string) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if p.hub == nil {
		return PlanUnknown
	}
	model, _ := p.sandbox.cacheModel(volume)
	model.Repository = repository
	has, err := p.hub.cache.Has(ctx, model, commit)
	switch {
	case err != nil:
		p.pass(ctx, err)
		return PlanUnknown
	case has:
		return PlanYes
	default:
		return PlanNo
	}
}

// pass notes why something stays unknown.
func (p *planCaches) pass(ctx context.Context, err error) {
	if err != nil {
		p.sandbox.opts.logger.DebugContext(ctx, "plan: the backend does not tell what it has cached", "error", err)
	}
}
