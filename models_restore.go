package seer

import (
	"context"
	"fmt"
	"slices"

	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

const stepRemount = "mount models of the snapshot"

// plannedModels are the models that Start has to prepare: all that the config
// declares, but for those that a snapshot has already.
func (s *Sandbox) plannedModels() []ModelConfig {
	if s.from == nil {
		return s.config.Models
	}
	return slices.DeleteFunc(slices.Clone(s.config.Models), func(m ModelConfig) bool {
		return slices.ContainsFunc(s.from.Models, func(h ModelHandle) bool { return h.isFor(m) })
	})
}

// isFor reports whether a model of a snapshot is one that a config declares. A
// hidden one may have lost its name to the state of its sandbox.
func (h ModelHandle) isFor(m ModelConfig) bool {
	return h.VarName == m.varName() && h.Hidden == m.Hidden && h.IsPEFT == m.IsPEFT &&
		(h.Name == m.Name && h.BaseModel == m.BaseModel || h.Hidden && h.Name == "")
}

// keptModels are the models of the snapshot whose variables the config gives
// to no other model.
func (s *Sandbox) keptModels() []ModelHandle {
	if s.from == nil {
		return nil
	}
	planned := s.plannedModels()
	return slices.DeleteFunc(slices.Clone(s.from.Models), func(h ModelHandle) bool {
		return slices.ContainsFunc(planned, func(m ModelConfig) bool { return m.varName() == h.VarName })
	})
}

// remount finds the volumes of the snapshot's models, and downloads the same
// commits again where they were deleted or damaged.
func (l *launch) remount(ctx context.Context, log func(string)) (string, error) {
	for i := range l.kept {
		h := &l.kept[i]
		own := modelcache.Model{ID: h.Name, Revision: h.Revision, Hidden: h.Hidden}
		for _, m := range l.from.Config.Models {
			if h.isFor(m) {
				own.Include, own.Exclude = m.Include, m.Exclude
			}
		}
		if h.Hidden && h.IsPEFT {
			own.Conceal = []string{h.BaseModel}
		}
		if err := l.reclaim(ctx, log, own, &h.Volume); err != nil {
			return "", err
		}
		if !h.IsPEFT {
			continue
		}
		base := modelcache.Model{ID: h.BaseModel, Revision: h.BaseRevision, Hidden: h.Hidden}
		if err := l.reclaim(ctx, log, base, &h.BaseVolume); err != nil {
			return "", err
		}
	}
	return "", nil
}

// reclaim sees to it that a volume holds the model, whole. What it cannot name
// it cannot read again either, and takes as it is.
func (l *launch) reclaim(ctx context.Context, log func(string), model modelcache.Model, volume *string) error {
	whole, unchanged, err := l.hub.cache.Inspect(ctx, *volume)
	if err != nil {
		return err
	}
	if unchanged || whole && model.ID == "" {
		l.hub.cache.Used(ctx, *volume)
		return nil
	}
	if model.ID == "" {
		return fmt.Errorf("the volume of a hidden model was deleted or damaged, and the snapshot does not name the model: %w", ErrNotFound)
	}
	cached, err := l.hub.ensure(ctx, model, nil, l.modelNews(stepRemount, log))
	if err != nil {
		return err
	}
	*volume = cached.Volume
	return nil
}
