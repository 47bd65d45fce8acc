package modelcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// DefaultLease is how long a download may take before its sandbox ends and
// another program may take over.
const DefaultLease = 6 * time.Hour

// Cache gets models onto volumes. It may be used from several goroutines; its
// fields must not be changed after the first call.
type Cache struct {
	Hub     *huggingface.Client
	Store   Store
	Writers Writers
	Namer   Namer
	// Endpoint is the hub's base URL where downloads run; "" = as Hub has it.
	Endpoint string
	Uses     *UseLog       // nil = last uses are not recorded
	Aliases  *AliasLog     // nil = what the hub calls a repository is asked each time
	Lease    time.Duration // 0 = DefaultLease
	Log      *slog.Logger  // nil = silent
}

// Request is what [Cache.Ensure] is to do.
type Request struct {
	Model  Model
	Rehash bool             // read every byte on the volume again, which takes a sandbox
	Bases  []string         // the base models declared for an adapter; none = not an adapter
	Notify func(Event)      // called in order, from one goroutine at a time; nil = not called
	Order  OrderAdjustments // for tests and unusual hubs
}

// OrderAdjustments overrule how the downloader waits; see [huggingface.Order].
type OrderAdjustments struct {
	StallSeconds, Retries int
	PauseSeconds          float64
}

// Cached is a model that is complete on its volume.
type Cached struct {
	Volume     string
	MountPath  string
	Commit     string
	Downloaded bool // by this call, in whole or in part
	Manifest   *Manifest
}

// Ensure makes sure that a model is complete on its volume and returns where.
// When it is cached already that takes a question to the hub (none for a whole
// model pinned to a commit) and a look at the volume, and no sandbox. Otherwise it
// downloads, or waits for the program that does. When ctx ends the download
// ends too; what was fetched stays for the next one. Errors name the model
// unless it is hidden.
func (c *Cache) Ensure(ctx context.Context, req Request) (*Cached, error) {
	cached, err := c.ensure(ctx, req)
	if err != nil {
		return nil, describe(req.Model, err)
	}
	c.Used(ctx, cached.Volume)
	req.notify(Event{Phase: Ready, Bytes: cached.Manifest.Bytes(), Total: cached.Manifest.Bytes()})
	return cached, nil
}

// Used records that a volume is used now.
func (c *Cache) Used(ctx context.Context, volume string) {
	if c.Uses == nil {
		return
	}
	if err := c.Uses.Touch(volume); err != nil {
		c.log().WarnContext(ctx, "last use of a model not recorded", "volume", volume, "err", err)
	}
}

func (c *Cache) ensure(ctx context.Context, req Request) (*Cached, error) {
	req.Model = c.known(req.Model)
	m := req.Model
	if IsCommit(m.Revision) && len(req.Bases) == 0 && !req.Rehash {
		// A commit is what it is; the hub would have nothing to add.
		if cached, state, err := c.look(ctx, m, m.Revision); state == intact || err != nil {
			return cached, err
		}
	}
	repo, err := c.Hub.Resolve(ctx, m.ID, m.Revision)
	if errors.Is(err, huggingface.ErrOffline) || errors.Is(err, huggingface.ErrUnavailable) {
		return c.offline(ctx, req, err)
	}
	if err != nil {
		return nil, err
	}
	m.Repository = repo.ID
	req.Model = m
	c.learn(ctx, m)
	for _, base := range req.Bases {
		if err := c.Hub.CheckBase(ctx, repo, base); err != nil {
			return nil, err
		}
	}
	cached, state, err := c.look(ctx, m, repo.Commit)
	if err != nil || state == intact && !req.Rehash {
		return cached, err
	}
	if state == touched || state == damaged {
		req.notify(Event{Phase: Repairing})
	}
	selected, err := m.filter().Select(repo.Files)
	if err == nil {
		err = c.Hub.CheckIndexes(ctx, repo, selected.Files)
	}
	if m.Hidden {
		err = huggingface.WithoutDetails(err) // the names of files hold the model's
	}
	if err != nil {
		return nil, err
	}
	if state == missing {
		if before, _ := c.newest(ctx, m); before != nil {
			req.notify(Event{Phase: Moved, From: before.Commit, To: repo.Commit})
		}
	}
	volume := c.Namer.Volume(m, repo.Commit)
	path := c.Namer.MountPath(m)
	leftOut := selected.LeftOut
	if m.Hidden {
		leftOut = nil
	}
	line, err := huggingface.Order{
		Endpoint: cmp.Or(c.Endpoint, c.Hub.Endpoint, huggingface.DefaultEndpoint), Token: c.Hub.Token,
		Repo: repo.ID, Commit: repo.Commit, Revision: m.revision(), Volume: volume, Root: path,
		Files: selected.Files, LeftOut: leftOut,
		Rehash: req.Rehash || state != missing, Conceal: m.concealed(),
		StallSeconds: req.Order.StallSeconds, Retries: req.Order.Retries, PauseSeconds: req.Order.PauseSeconds,
	}.Line()
	if err != nil {
		return nil, err
	}
	return c.fill(ctx, req, repo.Commit, Job{
		Name: volume, Volume: volume, MountPath: path, Packages: huggingface.DownloaderPackages(),
		Argv: huggingface.Downloader(), Stdin: line, Timeout: cmp.Or(c.Lease, DefaultLease),
	})
}

// known adds what the hub called a model's repository when it was asked last.
func (c *Cache) known(m Model) Model {
	if m.Repository == "" {
		m.Repository = c.Aliases.Repository(m.ID)
	}
	return m
}

// learn records what the hub calls a repository that was asked for by another
// name. The volumes of hidden models go by the names that were declared.
func (c *Cache) learn(ctx context.Context, m Model) {
	if m.Hidden || m.repository() == m.ID && c.Aliases.Repository(m.ID) == m.ID {
		return
	}
	if err := c.Aliases.learn(m.ID, m.repository()); err != nil {
		c.log().WarnContext(ctx, "name of a repository not recorded", "err", err)
	}
}

// Has reports whether a model is complete on its volume at a commit, so that
// Ensure would download nothing. It asks the store alone.
func (c *Cache) Has(ctx context.Context, m Model, commit string) (bool, error) {
	_, state, err := c.look(ctx, c.known(m), commit)
	return state == intact, err
}

// state is what a look at a volume shows.
type state int

const (
	missing state = iota // never completed
	damaged              // not as its manifest says
	touched              // as its manifest says, but changed since
	intact
)

// Inspect says of a volume, by its name alone, whether it holds a whole model,
// and whether nothing was changed since its manifest was written.
func (c *Cache) Inspect(ctx context.Context, volume string) (whole, unchanged bool, err error) {
	_, found, err := c.inspect(ctx, volume)
	return found == touched || found == intact, found == intact, err
}

// look says how a model's volume at a commit is, and returns the model if it
// is touched or intact.
func (c *Cache) look(ctx context.Context, m Model, commit string) (*Cached, state, error) {
	volume := c.Namer.Volume(m, commit)
	manifest, found, err := c.inspect(ctx, volume)
	if err != nil || manifest == nil || manifest.Commit != commit && !m.Hidden {
		return nil, missing, err
	}
	if found == damaged {
		return nil, damaged, nil
	}
	return &Cached{Volume: volume, MountPath: c.Namer.MountPath(m), Commit: commit, Manifest: manifest}, found, nil
}

// inspect compares a volume with its manifest; nil = it has none. It goes by
// the sizes of the files and by the times at which they were changed: none
// after the manifest.
func (c *Cache) inspect(ctx context.Context, volume string) (*Manifest, state, error) {
	var manifest *Manifest
	var files []FileInfo
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		manifest, err = c.manifest(groupCtx, volume)
		return err
	})
	group.Go(func() (err error) {
		files, err = c.Store.Files(groupCtx, volume)
		return ignoreMissing(err)
	})
	if err := group.Wait(); err != nil {
		return nil, missing, fmt.Errorf("look at volume %s: %w", volume, err)
	}
	if manifest == nil {
		return nil, missing, nil
	}
	there := make(map[string]FileInfo, len(files))
	for _, f := range files {
		there[f.Path] = f
	}
	found := intact
	for _, f := range manifest.Files {
		has, ok := there[f.Path]
		if !ok || has.Size != f.Size {
			return manifest, damaged, nil
		}
		if has.ModTime.After(there[ManifestPath].ModTime) {
			found = touched
		}
	}
	return manifest, found, nil
}

// manifest returns nil when a volume has none that is valid for it.
func (c *Cache) manifest(ctx context.Context, volume string) (*Manifest, error) {
	data, err := c.Store.ReadFile(ctx, volume, ManifestPath)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	manifest, err := ParseManifest(data)
	if err != nil || manifest.Volume != volume {
		c.log().WarnContext(ctx, "manifest of a model ignored", "volume", volume, "err", err)
		return nil, nil
	}
	return manifest, nil
}

// offline falls back to the newest cached commit of the revision asked for.
// That of a hidden model cannot be told from its volume.
func (c *Cache) offline(ctx context.Context, req Request, cause error) (*Cached, error) {
	before, err := c.newest(ctx, req.Model)
	if before == nil || err != nil {
		return nil, cause
	}
	cached, state, err := c.look(ctx, req.Model, before.Commit)
	if state != intact || err != nil {
		return nil, cause
	}
	req.notify(Event{Phase: Offline, To: cached.Commit})
	return cached, nil
}

// newest is the newest manifest for the model and the revision, at any commit;
// nil if there is none.
func (c *Cache) newest(ctx context.Context, m Model) (*Manifest, error) {
	if m.Hidden {
		return nil, nil
	}
	volumes, err := c.Store.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	var newest *Manifest
	for _, volume := range volumes {
		if !strings.HasPrefix(volume, family(m)) {
			continue
		}
		manifest, err := c.manifest(ctx, volume)
		if err != nil {
			return nil, err
		}
		if manifest != nil && manifest.Revision == m.revision() && (newest == nil || manifest.Created.After(newest.Created)) {
			newest = manifest
		}
	}
	return newest, nil
}

func (c *Cache) log() *slog.Logger {
	return cmp.Or(c.Log, slog.New(slog.DiscardHandler))
}

func (r Request) notify(e Event) {
	if r.Notify != nil {
		e.Model = r.Model.Label()
		r.Notify(e)
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// describe names the model in an error, or keeps its name out of it.
func describe(m Model, err error) error {
	var hub *huggingface.Error
	if errors.As(err, &hub) {
		if m.Hidden {
			return hub.Hide(m.Label())
		}
		return err
	}
	return fmt.Errorf("cache %s: %w", m.Label(), err)
}
