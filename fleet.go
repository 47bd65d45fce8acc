package seer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// Info describes a running sandbox, of this or another program.
type Info struct {
	ID         string            `json:"id"`
	Owner      string            `json:"owner"`       // USER-at-HOST; "" = not started by this SDK
	Program    string            `json:"program"`     // name of the program that started it
	ConfigHash string            `json:"config_hash"` // the same for the same config
	CreatedAt  time.Time         `json:"created_at"`
	Lease      time.Duration     `json:"lease"`          // how long it outlives a program that was killed; 0 = until its timeout
	Detached   bool              `json:"detached"`       // its program closed it: it runs until its timeout
	Tags       map[string]string `json:"tags,omitempty"` // those of the config

	program program
}

// Filter chooses sandboxes. The zero Filter takes all.
type Filter struct {
	Owner      string            // "" = anybody's; [CurrentOwner] = one's own
	Program    string            // name; "" = every program's
	ConfigHash string            // "" = any
	OlderThan  time.Duration     // 0 = of any age
	Tags       map[string]string // all of these; nil = any
}

// CurrentOwner is how the user of this program is called in [Info] and [Filter].
func CurrentOwner() string { return currentOwner() }

// List yields the running sandboxes of the app ([WithAppName]) that a filter
// takes, newest first, whoever started them; none if there is no such app. An
// error ends it.
func List(ctx context.Context, filter Filter, opts ...Option) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o := newOptions(opts)
		err := withClient(ctx, o, func(client *modalclient.Client) error {
			for found, err := range sandboxesOf(ctx, client, o.appName, filter.tags()) {
				if err != nil {
					return publicError(err)
				}
				info := newInfo(found)
				if filter.takes(info) && !yield(info, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Info{}, fmt.Errorf("list sandboxes: %w", err))
		}
	}
}

// TerminateAll ends sandboxes by their IDs, side by side. One that has ended
// already is no error. The error joins a *[SandboxError] for each that could
// not be ended; all are tried.
func TerminateAll(ctx context.Context, ids []string, opts ...Option) error {
	o := newOptions(opts)
	chosen, err := chooseBackend(o)
	if err != nil {
		return err
	}
	o.backend = Backend{chosen}
	return withClient(ctx, o, func(client *modalclient.Client) error {
		return terminateAll(ctx, chosen, client, ids)
	})
}

// SandboxError says which sandbox of several an error is about.
type SandboxError struct {
	SandboxID string
	Err       error
}

func (e *SandboxError) Error() string {
	return shown.Text("sandbox " + e.SandboxID + ": " + e.Err.Error())
}

// Unwrap returns Err.
func (e *SandboxError) Unwrap() error { return e.Err }

// sideBySide bounds how many sandboxes one call works on at a time.
const sideBySide = 16

func terminateAll(ctx context.Context, backend *backend, client *modalclient.Client, ids []string) error {
	errs := make([]error, len(ids))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for i, id := range ids {
		group.Go(func() error {
			if err := terminateID(ctx, client, id); err != nil {
				errs[i] = &SandboxError{SandboxID: id, Err: err}
			} else {
				backend.detach(id, false)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}

func terminateID(ctx context.Context, client *modalclient.Client, id string) error {
	remote, err := client.Sandbox(ctx, id)
	if err != nil {
		return publicError(err)
	}
	defer remote.Detach()
	if err := remote.Terminate(ctx); err != nil && !errors.Is(err, modalclient.ErrTerminated) {
		return publicError(err)
	}
	forgetRecord(client, id)
	return nil
}

// withClient lends the backend's connection for one call.
func withClient(ctx context.Context, o options, use func(*modalclient.Client) error) (err error) {
	backend, err := chooseBackend(o)
	if err != nil {
		return err
	}
	client, _, err := backend.acquire(ctx, o.logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.release()) }()
	return use(client)
}

// sandboxesOf lists the sandboxes of an app, newest first. An app that nobody
// has made has none, and is not made by asking.
func sandboxesOf(ctx context.Context, client *modalclient.Client, appName string, tags map[string]string) iter.Seq2[modalclient.Info, error] {
	return func(yield func(modalclient.Info, error) bool) {
		app, err := client.App(ctx, appName, false)
		if errors.Is(err, modalclient.ErrNotFound) {
			return
		}
		if err != nil {
			yield(modalclient.Info{}, err)
			return
		}
		client.List(ctx, app, tags)(yield)
	}
}

// tags are the part of the filter that the backend applies.
func (f Filter) tags() map[string]string {
	tags := maps.Clone(f.Tags)
	for name, value := range map[string]string{tagOwner: f.Owner, tagConfig: f.ConfigHash} {
		if value == "" {
			continue
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[name] = value
	}
	return tags
}

func (f Filter) takes(info Info) bool {
	return (f.Program == "" || f.Program == info.Program) &&
		(f.OlderThan == 0 || time.Since(info.CreatedAt) >= f.OlderThan)
}

func newInfo(found modalclient.Info) Info {
	info := Info{
		ID:         found.ID,
		Owner:      found.Tags[tagOwner],
		ConfigHash: found.Tags[tagConfig],
		CreatedAt:  found.CreatedAt,
		Detached:   found.Tags[tagLease] == leaseDetached,
	}
	if p, ok := parseProgram(found.Tags[tagProgram]); ok {
		info.program, info.Program = p, p.name
	}
	if seconds, err := strconv.Atoi(found.Tags[tagLease]); err == nil {
		info.Lease = time.Duration(seconds) * time.Second
	}
	for name, value := range found.Tags {
		if strings.HasPrefix(name, tagPrefix) {
			continue
		}
		if info.Tags == nil {
			info.Tags = map[string]string{}
		}
		info.Tags[name] = value
	}
	return info
}
