package seer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

// modelsApp is the app of all downloads, whatever app their sandboxes are for:
// names are unique within one app, and the name is the lock on a volume.
const modelsApp = "seer-models"

// modelStore is a [modelcache.Store] that needs no sandbox.
type modelStore struct {
	client *modalclient.Client

	mu      sync.Mutex
	volumes map[string]modalclient.Volume // by name
	lookups map[string]*volumeLookup      // by name, under way
}

type volumeLookup struct {
	done      chan struct{}
	volume    modalclient.Volume
	err       error
	cancelled bool
}

func newModelStore(client *modalclient.Client) *modelStore {
	return &modelStore{client: client, volumes: map[string]modalclient.Volume{}, lookups: map[string]*volumeLookup{}}
}

// volume finds a volume that exists. Those who ask at the same time share an answer.
func (s *modelStore) volume(ctx context.Context, name string) (modalclient.Volume, error) {
	for {
		s.mu.Lock()
		volume, known := s.volumes[name]
		lookup, shared := s.lookups[name]
		if !known && !shared {
			lookup = &volumeLookup{done: make(chan struct{})}
			s.lookups[name] = lookup
		}
		s.mu.Unlock()
		if known {
			return volume, nil
		}
		if !shared {
			s.lookUp(ctx, name, lookup)
			return lookup.volume, lookup.err
		}
		select {
		case <-lookup.done:
			if !lookup.cancelled {
				return lookup.volume, lookup.err
			}
		case <-ctx.Done():
			return modalclient.Volume{}, context.Cause(ctx)
		}
	}
}

func (s *modelStore) lookUp(ctx context.Context, name string, lookup *volumeLookup) {
	lookup.volume, lookup.err = s.client.Volume(ctx, name, false)
	lookup.cancelled = ctx.Err() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if lookup.err == nil {
		s.volumes[name] = lookup.volume
	}
	delete(s.lookups, name)
	close(lookup.done)
}

func (s *modelStore) keep(volumes ...modalclient.Volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range volumes {
		s.volumes[v.Name] = v
	}
}

func (s *modelStore) ReadFile(ctx context.Context, volume, path string) ([]byte, error) {
	v, err := s.volume(ctx, volume)
	if err != nil {
		return nil, storeError(err)
	}
	data, err := s.client.VolumeReadFile(ctx, v, path)
	return data, storeError(err)
}

func (s *modelStore) Files(ctx context.Context, volume string) ([]modelcache.FileInfo, error) {
	v, err := s.volume(ctx, volume)
	if err != nil {
		return nil, storeError(err)
	}
	listed, err := s.client.VolumeFiles(ctx, v)
	if err != nil {
		return nil, storeError(err)
	}
	files := make([]modelcache.FileInfo, len(listed))
	for i, f := range listed {
		files[i] = modelcache.FileInfo(f)
	}
	return files, nil
}

func (s *modelStore) Volumes(ctx context.Context) ([]string, error) {
	volumes, err := s.client.Volumes(ctx)
	if err != nil {
		return nil, publicError(err)
	}
	s.keep(volumes...)
	names := make([]string, len(volumes))
	for i, v := range volumes {
		names[i] = v.Name
	}
	return names, nil
}

func (s *modelStore) Delete(ctx context.Context, volume string) error {
	v, err := s.volume(ctx, volume)
	if errors.Is(err, modalclient.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = s.client.DeleteVolume(ctx, v)
	}
	s.mu.Lock()
	delete(s.volumes, volume)
	s.mu.Unlock()
	return publicError(err)
}

func storeError(err error) error {
	if errors.Is(err, modalclient.ErrNotFound) {
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return publicError(err)
}

// downloaderImage makes the image that downloads run in.
type downloaderImage func(ctx context.Context, app modalclient.App) (imageID string, err error)

// modelWriters starts each download as the one command of a CPU sandbox, which
// so ends with it. Its order, with the hub's token, goes to its stdin.
type modelWriters struct {
	client *modalclient.Client
	store  *modelStore
	image  downloaderImage
}

func (w *modelWriters) Start(ctx context.Context, job modelcache.Job) (modelcache.Run, error) {
	app, err := w.client.App(ctx, modelsApp, true)
	if err != nil {
		return nil, publicError(err)
	}
	image, err := w.image(ctx, app)
	if err != nil {
		return nil, err
	}
	volume, err := w.client.Volume(ctx, job.Volume, true)
	if err != nil {
		return nil, publicError(err)
	}
	w.store.keep(volume)
	sandbox, err := w.client.Create(ctx, app, modalclient.CreateSpec{
		Name:    job.Name,
		Image:   image,
		Command: job.Argv,
		Timeout: job.Timeout,
		Volumes: []modalclient.Mount{{Volume: volume, Path: job.MountPath}},
	})
	if errors.Is(err, modalclient.ErrExists) {
		return nil, modelcache.ErrNameTaken
	}
	if err != nil {
		return nil, publicError(err)
	}
	err = sandbox.Ready(ctx, modalclient.Queue{})
	if err == nil {
		err = sandbox.Send(ctx, job.Stdin)
	}
	if err != nil && !errors.Is(err, modalclient.ErrTerminated) { // what it said last tells why it ended
		ctx, cancel := withGrace(ctx, endTimeout)
		defer cancel()
		err = errors.Join(err, sandbox.Terminate(ctx))
		sandbox.Detach()
		return nil, publicError(err)
	}
	run := newModelRun(ctx, sandbox)
	run.own = true
	return run, nil
}

func (w *modelWriters) Attach(ctx context.Context, name string) (modelcache.Run, error) {
	sandbox, err := w.client.SandboxByName(ctx, modalclient.App{Name: modelsApp}, name)
	if errors.Is(err, modalclient.ErrNotFound) {
		return nil, modelcache.ErrNotRunning
	}
	if err != nil {
		return nil, publicError(err)
	}
	return newModelRun(ctx, sandbox), nil
}

// modelRun is a download, this program's or another's.
type modelRun struct {
	sandbox *modalclient.Sandbox
	output  io.ReadCloser
	own     bool // started by this program, which ends it too
}

func newModelRun(ctx context.Context, sandbox *modalclient.Sandbox) *modelRun {
	// Close ends the output, not ctx: the last words of a download that is
	// stopped are worth reading.
	return &modelRun{sandbox: sandbox, output: sandbox.Output(context.WithoutCancel(ctx))}
}

func (r *modelRun) Output() io.Reader { return r.output }

func (r *modelRun) Stop(ctx context.Context) error { return r.sandbox.Terminate(ctx) }

func (r *modelRun) Close() error {
	err := r.output.Close()
	if r.own {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		err = errors.Join(err, r.sandbox.Terminate(ctx))
	}
	r.sandbox.Detach()
	return err
}
