package seer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

// CachedModel is a model on a volume, for sandboxes to mount.
type CachedModel struct {
	Volume   string    `json:"volume"`             // name of the volume, in no other use
	Name     string    `json:"name,omitempty"`     // ID on the hub; "" = hidden, or not complete
	Revision string    `json:"revision,omitempty"` // as it was asked for first; "" likewise
	Commit   string    `json:"commit,omitempty"`   // "" likewise
	Hidden   bool      `json:"hidden,omitempty"`
	Complete bool      `json:"complete"` // false = the next sandbox that declares the model resumes its download
	Bytes    int64     `json:"bytes"`
	Created  time.Time `json:"created,omitzero"`   // zero = not complete
	LastUsed time.Time `json:"last_used,omitzero"` // by a program of this machine's user, or when an unfinished download last wrote; zero = not known
}

// ListModels yields the models that are cached on a backend, sorted by volume.
// It reads WithBackend and WithEnvFile.
func ListModels(ctx context.Context, opts ...Option) iter.Seq2[CachedModel, error] {
	return func(yield func(CachedModel, error) bool) {
		var entries []modelcache.Entry
		err := withCache(ctx, opts, func(cache *modelcache.Cache) (err error) {
			entries, err = cache.List(ctx)
			return err
		})
		if err != nil {
			yield(CachedModel{}, err)
			return
		}
		for _, e := range entries {
			m := CachedModel{
				Volume: e.Volume, Name: e.Model, Revision: e.Revision, Commit: e.Commit, Hidden: e.Hidden,
				Complete: e.Complete, Bytes: e.Bytes, Created: e.Created, LastUsed: e.LastUsed,
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// DeleteModel deletes cached models: all volumes of the model with that ID on
// the hub, or the volume with that name, as [ListModels] shows them. Sandboxes
// that have it mounted may fail to read it from then on. The error is
// ErrNotFound when there is none.
func DeleteModel(ctx context.Context, name string, opts ...Option) error {
	return withCache(ctx, opts, func(cache *modelcache.Cache) error {
		entries, err := cache.List(ctx)
		if err != nil {
			return err
		}
		var errs []error
		found := false
		for _, e := range entries {
			if name != "" && (e.Volume == name || e.Model == name) {
				found = true
				errs = append(errs, cache.Delete(ctx, e.Volume))
			}
		}
		if !found {
			return fmt.Errorf("delete model %q: it is not cached: %w", name, ErrNotFound)
		}
		return errors.Join(errs...)
	})
}

// withCache calls f with the cache of the backend that the options choose.
func withCache(ctx context.Context, opts []Option, f func(*modelcache.Cache) error) (err error) {
	o := newOptions(opts)
	secrets, err := newSecretSource(o.envFile, o.logger)
	if err != nil {
		return err
	}
	backend, err := chooseBackend(o)
	if err != nil {
		return err
	}
	client, _, err := backend.acquire(ctx, o.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.release()) }()
	hub, err := newModelHub(client, secrets.lookup, backend.name, o.logger, nil)
	if err != nil {
		return err
	}
	defer hub.close()
	return f(hub.cache)
}
