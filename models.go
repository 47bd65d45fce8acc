package seer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// modelVolume is where a sandbox finds one repository of the hub.
type modelVolume struct {
	name   string
	path   string // where it is mounted
	commit string
	files  []string
	left   []LeftOut
}

// openHub prepares for the models of the plan and of the snapshot, if there are any.
func (l *launch) openHub(ctx context.Context) (err error) {
	l.kept = l.keptModels()
	l.volumes = make([]modelVolume, len(l.plan.Volumes))
	if len(l.volumes)+len(l.kept) == 0 {
		return nil
	}
	if l.downloader = l.images; l.downloader == nil {
		l.downloader = &imageShare{ctx: ctx, images: make(map[string]*sharedImage)}
	}
	l.hub, err = newModelHub(l.client, l.lookup, l.backend.name, l.opts.logger, l.downloaderImage)
	return err
}

func (l *launch) closeHub() {
	if l.hub != nil {
		l.hub.close()
	}
}

// downloadModel sees to it that volume i of the plan is complete.
func (l *launch) downloadModel(ctx context.Context, title string, log func(string), i int) (string, error) {
	volume := l.plan.Volumes[i]
	model, bases := l.cacheModel(volume)
	cached, err := l.hub.ensure(ctx, model, bases, l.modelNews(title, log))
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	l.volumes[i] = newModelVolume(cached)
	l.mu.Unlock()
	if cached.Downloaded {
		return fmt.Sprintf("%.1f MiB", float64(cached.Manifest.Bytes())/(1<<20)), nil
	}
	return "cached", nil
}

func newModelVolume(cached *modelcache.Cached) modelVolume {
	v := modelVolume{name: cached.Volume, path: cached.MountPath, commit: cached.Commit}
	for _, f := range cached.Manifest.Files {
		v.files = append(v.files, f.Path)
	}
	v.left = leftOut(cached.Manifest.LeftOut)
	return v
}

func leftOut(files []huggingface.LeftOut) []LeftOut {
	var out []LeftOut
	for _, f := range files {
		out = append(out, LeftOut{Path: f.Path, Bytes: f.Size, Why: f.Why})
	}
	return out
}

// cacheModel is what a volume of the plan is to hold, and the bases that its
// own configuration has to agree with; none if it holds no adapter.
func (s *Sandbox) cacheModel(volume plan.Volume) (model modelcache.Model, bases []string) {
	model = modelcache.Model{
		ID: volume.Repository, Revision: volume.Revision,
		Include: volume.Include, Exclude: volume.Exclude, Hidden: volume.Hidden,
	}
	for _, m := range s.config.Models {
		if !m.IsPEFT || !holds(volume, m.Name, m.Revision, m) || slices.Contains(model.Conceal, m.BaseModel) {
			continue
		}
		model.Conceal = append(model.Conceal, m.BaseModel)
		if !m.ForceBase {
			bases = append(bases, m.BaseModel)
		}
	}
	return model, bases
}

// holds reports whether a volume of the plan is for a repository that m needs.
func holds(volume plan.Volume, repository, revision string, m ModelConfig) bool {
	if volume.Repository != repository || volume.Revision != revision || volume.Hidden != m.Hidden {
		return false
	}
	if repository != m.Name {
		return len(volume.Include)+len(volume.Exclude) == 0
	}
	return slices.Equal(volume.Include, m.Include) && slices.Equal(volume.Exclude, m.Exclude)
}

// modelNews turns what happens to a model into events.
func (l *launch) modelNews(title string, log func(string)) func(modelcache.Event) {
	return func(e modelcache.Event) {
		switch e.Phase {
		case modelcache.Downloading, modelcache.Waiting:
			l.events.report(Event{Kind: EventProgress, Step: title, Done: e.Bytes, Total: e.Total, Rate: e.Rate, ETA: e.ETA})
		case modelcache.Moved:
			log(fmt.Sprintf("the revision has moved from %.12s to %.12s", e.From, e.To))
		case modelcache.Offline:
			log(fmt.Sprintf("the hub cannot be asked: using what is cached, %.12s", e.To))
		case modelcache.Repairing:
			log("the cached files are not as they were left: repairing them")
		case modelcache.Ready:
		}
	}
}

// mounts are the volumes of all models, read-only: no agent can change what
// other sandboxes load. It also settles what ModelHandles tells.
func (l *launch) mounts(ctx context.Context) ([]modalclient.Mount, error) {
	handles := slices.Clone(l.kept)
	for _, m := range l.plannedModels() {
		own := l.volumeFor(m.Name, m.Revision, m)
		h := ModelHandle{
			Name: m.Name, VarName: m.varName(), Path: own.path, Revision: own.commit, Files: own.files, LeftOut: own.left, Volume: own.name,
			Hidden: m.Hidden, IsPEFT: m.IsPEFT, LoadAsPEFT: m.LoadAsPEFT,
		}
		if m.IsPEFT {
			base := l.volumeFor(m.BaseModel, "", m)
			h.BaseModel, h.BasePath, h.BaseRevision, h.BaseVolume = m.BaseModel, base.path, base.commit, base.name
		}
		handles = append(handles, h)
	}
	var mounts []modalclient.Mount
	add := func(volume, path string) error {
		if volume == "" || slices.ContainsFunc(mounts, func(m modalclient.Mount) bool { return m.Path == path }) {
			return nil
		}
		found, err := l.hub.store.volume(ctx, volume)
		if err != nil {
			return publicError(err)
		}
		mounts = append(mounts, modalclient.Mount{Volume: found, Path: path, ReadOnly: true})
		return nil
	}
	for _, h := range handles {
		if err := errors.Join(add(h.Volume, h.Path), add(h.BaseVolume, h.BasePath)); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	l.models = handles
	l.mu.Unlock()
	return mounts, nil
}

func (l *launch) volumeFor(repository, revision string, m ModelConfig) modelVolume {
	i := slices.IndexFunc(l.plan.Volumes, func(v plan.Volume) bool { return holds(v, repository, revision, m) })
	if i < 0 {
		return modelVolume{}
	}
	return l.volumes[i]
}

// downloaderImage makes the image that models are downloaded with, once
// however many models need it, and not at all when all are cached.
func (l *launch) downloaderImage(ctx context.Context, app modalclient.App) (string, error) {
	planned := plan.DownloaderLayers(huggingface.DownloaderPackages()) // a snapshot's models are in no plan
	base, layers := downloaderBase(l.plan.Base), wireLayers(planned)
	return l.downloader.build(ctx, base, layers, func(ctx context.Context) (string, error) {
		const title = "build downloader image"
		began := time.Now()
		l.events.report(Event{Kind: EventStarted, Step: title, Time: began})
		lines := &lineWriter{emit: func(line string) { l.events.output(title, line) }}
		id, err := l.client.BuildImage(ctx, app, base, layers, func(_ int, text string) { _, _ = lines.Write([]byte(text)) })
		lines.flush()
		if err != nil {
			err = buildError(err, base, planned)
			l.events.report(Event{Kind: EventFailed, Step: title, Err: err, Elapsed: time.Since(began)})
			return "", err
		}
		l.events.report(Event{Kind: EventDone, Step: title, Elapsed: time.Since(began)})
		return id, nil
	})
}

var oldPython = regexp.MustCompile(`^python:3\.[0-9]([.-]|$)`)

// downloaderBase is the image of the sandbox itself, which is there anyway,
// unless its Python is too old for the downloader.
func downloaderBase(base string) string {
	if oldPython.MatchString(base) {
		return "python:" + defaultPythonVersion + "-slim-bookworm"
	}
	return base
}

// modelError matches the errors that users branch on.
func modelError(err error) error {
	for _, m := range []struct{ from, to error }{
		{huggingface.ErrGated, ErrGatedModel},
		{huggingface.ErrNotFound, ErrNotFound},
		{huggingface.ErrRevisionNotFound, ErrNotFound},
		{huggingface.ErrOffline, ErrHubUnreachable},
		{huggingface.ErrUnavailable, ErrHubUnreachable},
	} {
		if errors.Is(err, m.from) {
			err = &translatedError{err: err, as: m.to}
			break
		}
	}
	if errors.Is(err, huggingface.ErrNoToken) {
		return fmt.Errorf("%w; set HF_TOKEN in the environment or in .env", err)
	}
	return publicError(err)
}
