package seer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// cachedModel says whether a volume has its model at a commit. Repository is
// what the hub calls it; "" = not known.
type cachedModel = func(ctx context.Context, volume plan.Volume, repository, commit string) string

// planModels asks the hub what the models consist of, and the cache whether
// they are there.
func planModels(ctx context.Context, lookup secretLookup, volumes []plan.Volume, cached cachedModel) []PlanModel {
	if len(volumes) == 0 {
		return nil
	}
	endpoint, _ := lookup("HF_ENDPOINT")
	token, _ := lookup("HF_TOKEN")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	hub := &huggingface.Client{Endpoint: endpoint, Token: token, HTTPClient: &http.Client{Transport: transport}}

	from := ""
	if u, err := url.Parse(cmp.Or(endpoint, huggingface.DefaultEndpoint)); err == nil {
		from = u.Host // the rest may hold a password
	}
	models := make([]PlanModel, len(volumes))
	var group errgroup.Group
	for i, volume := range volumes {
		m := PlanModel{Name: volume.Repository, Variables: volume.Variables, Revision: volume.Revision, Access: PlanUnknown, From: from, Cached: PlanUnknown}
		if volume.Hidden {
			m.Name, m.Revision = fmt.Sprintf("(hidden %d)", i+1), ""
		}
		group.Go(func() error {
			models[i] = planModel(ctx, hub, volume, m, cached)
			return nil
		})
	}
	_ = group.Wait() // what is wrong stands in the models
	return models
}

func planModel(ctx context.Context, hub *huggingface.Client, volume plan.Volume, m PlanModel, cached cachedModel) PlanModel {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	repo, err := hub.Resolve(asking, volume.Repository, volume.Revision)
	switch {
	case err == nil:
		m.Cached = cached(ctx, volume, repo.ID, repo.Commit)
	case modelcache.IsCommit(volume.Revision):
		m.Cached = cached(ctx, volume, "", volume.Revision)
	}
	var chosen huggingface.Selection
	if err == nil {
		m.Access = PlanYes
		if !volume.Hidden {
			m.Revision = repo.Commit
		}
		filter := huggingface.Filter{Include: volume.Include, Exclude: volume.Exclude, NoDocs: volume.Hidden}
		chosen, err = filter.Select(repo.Files)
	}
	if err == nil {
		err = hub.CheckIndexes(asking, repo, chosen.Files)
	}
	if err != nil {
		if errors.Is(err, huggingface.ErrGated) || errors.Is(err, huggingface.ErrUnauthorized) {
			m.Access = PlanNo
		}
		m.Problem = problemOf(err, volume.Hidden)
		return m
	}
	m.Files, m.Bytes = len(chosen.Files), huggingface.Bytes(chosen.Files)
	if !volume.Hidden {
		m.LeftOut = leftOut(chosen.LeftOut)
	}
	if m.Cached != PlanYes {
		m.Fetch = m.Bytes
	}
	return m
}

// problemOf leaves the name of a hidden model and those of its files out.
func problemOf(err error, hidden bool) string {
	if !hidden {
		return err.Error()
	}
	var told *huggingface.Error
	if errors.As(err, &told) {
		err = told.Err
	}
	return huggingface.WithoutDetails(err).Error()
}
