package seer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// ErrUnverified means that this user's machine has no record of a sandbox:
// another user, or another machine, started it. It can be used, but what it
// may have is not asked of the sandbox itself, where an agent could answer.
var ErrUnverified = errors.New("this user's machine has no record of the sandbox")

// record is what another program of this user has to know of a sandbox and
// cannot ask the backend for. It is kept on this machine, where no process of
// the sandbox reaches it: it decides which secrets and files of this machine
// go where, and which limits hold. It holds no secret, no value of Env and no
// trace of a hidden model.
type record struct {
	Config SandboxConfig `json:"config"`
	Env    []string      `json:"env,omitempty"` // names of the variables in the config's Env
	Scoped bool          `json:"scoped,omitempty"`
	Models []ModelHandle `json:"models,omitempty"`
	Repos  []RepoHandle  `json:"repos,omitempty"`
}

func (s *Sandbox) record() record {
	r := record{Config: s.config.clone(), Scoped: s.scoped, Models: s.ModelHandles(), Repos: s.RepoHandles()}
	c := &r.Config
	r.Env, c.Env = sorted(c.Env), nil
	for i, m := range c.Models {
		if m.Hidden {
			c.Models[i] = ModelConfig{VarName: m.VarName, Hidden: true, IsPEFT: m.IsPEFT, LoadAsPEFT: m.LoadAsPEFT}
		}
	}
	for i, m := range r.Models {
		if m.Hidden {
			m.Name, m.BaseModel, m.Revision, m.BaseRevision = "", "", "", ""
			r.Models[i] = m
		}
	}
	return r
}

// keepRecord writes down what the sandbox has by now. Without it the sandbox
// runs all the same, and other programs find it unverified.
func (s *Sandbox) keepRecord(ctx context.Context) {
	records, err := recordsOf(s.client)
	if err == nil {
		err = records.save(s.remote.ID(), s.record())
	}
	if err != nil {
		s.opts.logger.WarnContext(ctx, "the record of the sandbox cannot be kept: other programs will find it unverified",
			"sandbox", s.remote.ID(), "error", err)
	}
}

// adopt learns from this machine's record how a running sandbox was started.
// One that it does not know is used as it is.
func (s *Sandbox) adopt(ctx context.Context) error {
	exit, ended, err := s.remote.Poll(ctx)
	if err != nil {
		return err
	}
	if ended {
		forgetRecord(s.client, s.remote.ID())
		return endError(exit)
	}
	var known *record
	records, err := recordsOf(s.client)
	if err == nil {
		known, err = records.load(s.remote.ID())
	}
	if err != nil {
		s.opts.logger.WarnContext(ctx, "the record of a sandbox cannot be read", "sandbox", s.remote.ID(), "error", err)
	}
	if known == nil {
		s.unverified = true
		return s.adoptTags(ctx)
	}
	s.config, s.missingEnv, s.scoped, s.models, s.repos = known.Config, known.Env, known.Scoped, known.Models, known.Repos
	return nil
}

// adoptTags learns what the backend tells of a sandbox that nothing else is
// known of: one without a lease, which may end when it is idle, stays without.
func (s *Sandbox) adoptTags(ctx context.Context) error {
	tags, err := s.remote.Tags(ctx)
	if err == nil && tags[tagLease] == noLease {
		s.opts.lease = -1
	}
	return err
}

// Verified reports whether this user's machine knows how the sandbox was
// started: by this program, or by another one of the user here. [FromID] finds
// others too; their config is not known then, [Sandbox.Snapshot] carries none,
// and services are looked for on their default ports.
func (s *Sandbox) Verified() bool { return !s.unverified }

// records are the files with this machine's records of sandboxes, one for
// each. Every file is written whole, by the program that started the sandbox.
type records struct{ dir string }

func recordsOf(client *modalclient.Client) (records, error) {
	home, err := userHome()
	if err != nil {
		return records{}, err
	}
	place := "modal"
	if client.KeepsLeases() {
		place = "local"
	}
	return records{filepath.Join(home, "records", place)}, nil
}

// forgetRecord is for a sandbox that has ended.
func forgetRecord(client *modalclient.Client, sandboxID string) {
	if records, err := recordsOf(client); err == nil {
		records.forget(sandboxID)
	}
}

var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func recordName(sandboxID string) (string, error) {
	if !plainID.MatchString(sandboxID) {
		return "", fmt.Errorf("sandbox %q has no ID that a file can be named for", sandboxID)
	}
	return sandboxID + ".json", nil
}

// open opens the directory and refuses one that another user may write to. What
// is looked at is what is used from then on, whatever its name comes to mean.
func (r records) open() (*os.Root, error) {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil && !ownAlone(info) {
		err = fmt.Errorf("%s belongs to another user, or others may write to it", r.dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

func (r records) save(sandboxID string, content record) error {
	name, err := recordName(sandboxID)
	if err != nil {
		return err
	}
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("describe sandbox: %w", err)
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	root, err := r.open()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	fresh := "new-" + rand.Text()
	err = root.WriteFile(fresh, data, 0o600)
	if err == nil {
		err = root.Rename(fresh, name)
	}
	if err != nil {
		_ = root.Remove(fresh) // it may not be there
		return err
	}
	r.sweep(root)
	return nil
}

// load returns nil for a sandbox that there is no record of.
func (r records) load(sandboxID string) (*record, error) {
	name, err := recordName(sandboxID)
	if err != nil {
		return nil, err
	}
	root, err := r.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	data, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known record
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(r.dir, name), err)
	}
	return &known, nil
}

// forget removes the record of a sandbox that has ended. What it leaves is swept
// some day.
func (r records) forget(sandboxID string) {
	name, err := recordName(sandboxID)
	if err != nil {
		return
	}
	if root, err := r.open(); err == nil {
		_ = root.Remove(name)
		_ = root.Close()
	}
}

const (
	// recordLife is longer than any sandbox lives.
	recordLife = maxTimeout + time.Hour
	sweepEvery = time.Hour
)

// sweep removes, now and then, the records of sandboxes that must have ended.
func (r records) sweep(root *os.Root) {
	const mark = "swept"
	if info, err := root.Stat(mark); err == nil && time.Since(info.ModTime()) < sweepEvery {
		return
	}
	_ = root.WriteFile(mark, nil, 0o600) // then every program sweeps, which costs time alone
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > recordLife {
			_ = root.Remove(entry.Name()) // another program may be faster
		}
	}
}
