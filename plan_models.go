package seer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// planModels asks the hub what the models consist of.
func planModels(ctx context.Context, lookup secretLookup, volumes []plan.Volume) []PlanModel {
	if len(volumes) == 0 {
		return nil
	}
	endpoint, _ := lookup("HF_ENDPOINT")
	token, _ := lookup("HF_TOKEN")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	hub := &huggingface.Client{Endpoint: endpoint, Token: token, HTTPClient: &http.Client{Transport: transport}}

	models := make([]PlanModel, len(volumes))
	var group errgroup.Group
	for i, volume := range volumes {
		m := PlanModel{Name: volume.Repository, Variables: volume.Variables, Revision: volume.Revision, Access: PlanUnknown}
		if volume.Hidden {
			m.Name, m.Revision = fmt.Sprintf("(hidden %d)", i+1), ""
		}
		group.Go(func() error {
			models[i] = planModel(ctx, hub, volume, m)
			return nil
		})
	}
	_ = group.Wait() // what is wrong stands in the models
	return models
}

func planModel(ctx context.Context, hub *huggingface.Client, volume plan.Volume, m PlanModel) PlanModel {
	repo, err := hub.Resolve(ctx, volume.Repository, volume.Revision)
	var chosen []huggingface.File
	if err == nil {
		m.Access = PlanYes
		if !volume.Hidden {
			m.Revision = repo.Commit
		}
		filter := huggingface.Filter{Include: volume.Include, Exclude: volume.Exclude, NoDocs: volume.Hidden}
		chosen, err = filter.Select(repo.Files)
	}
	if err != nil {
		if errors.Is(err, huggingface.ErrGated) || errors.Is(err, huggingface.ErrUnauthorized) {
			m.Access = PlanNo
		}
		m.Problem = problemOf(err, volume.Hidden)
		return m
	}
	m.Files, m.Bytes = len(chosen), huggingface.Bytes(chosen)
	return m
}

// problemOf leaves the name of a hidden model out.
func problemOf(err error, hidden bool) string {
	var told *huggingface.Error
	if hidden && errors.As(err, &told) {
		return told.Err.Error()
	}
	return err.Error()
}
