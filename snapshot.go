package seer

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Snapshot is a saved file system of a sandbox, to start others from. It is
// plain data: JSON keeps it, so it can be stored or mailed. Volumes, and so
// models, are not part of it; they are mounted again.
type Snapshot struct {
	ImageID     string        `json:"image_id"`
	Dir         string        `json:"dir,omitempty"` // the one directory it holds; "" = the whole file system
	Description string        `json:"description"`
	CreatedAt   time.Time     `json:"created_at"`
	Backend     string        `json:"backend"`          // "modal" or "local"; it can be restored nowhere else
	Config      SandboxConfig `json:"config"`           // as the sandbox was declared; no secret values
	Models      []ModelHandle `json:"models,omitempty"` // with their resolved commits
	Repos       []RepoHandle  `json:"repos,omitempty"`  // likewise

	// What was installed, as "torch==2.4.0" and "ffmpeg=7:5.1.6-0+deb12u1": all
	// Python packages, and the system packages that the config asks for. nil =
	// the sandbox could not tell, or the snapshot is of a directory.
	PythonPackages []string `json:"python_packages,omitempty"`
	SystemPackages []string `json:"system_packages,omitempty"`

	// Unverified snapshots are of a sandbox that was not [Sandbox.Verified]:
	// nothing says what it had, so that Config, Models and Repos are empty.
	// FromSnapshot wants a config of the caller's own for them.
	Unverified bool `json:"unverified,omitempty"`
	// MissingEnv names the variables of the sandbox's Env whose values are not
	// in Config, as only the program that started the sandbox has them.
	MissingEnv []string `json:"missing_env,omitempty"`
}

// Snapshot saves the sandbox's file system as it is now. The sandbox runs on.
// The description is kept with the snapshot.
func (s *Sandbox) Snapshot(ctx context.Context, description string) (*Snapshot, error) {
	remote, err := s.running()
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan installed, 1)
	go func() { answer <- s.installed(asking, remote) }()
	imageID, err := remote.Snapshot(ctx)
	if err != nil {
		cancel()
	}
	packages := <-answer
	if err != nil {
		return nil, s.callError("snapshot sandbox", err)
	}
	snapshot := s.describeSnapshot(imageID, description)
	snapshot.PythonPackages, snapshot.SystemPackages = packages.Python, packages.System
	return snapshot, nil
}

// describeSnapshot says what it takes to restore an image.
func (s *Sandbox) describeSnapshot(imageID, description string) *Snapshot {
	return &Snapshot{
		ImageID:     imageID,
		Description: description,
		CreatedAt:   time.Now().UTC().Truncate(time.Second),
		Backend:     s.Backend(),
		Config:      s.config.clone(),
		Models:      s.ModelHandles(),
		Repos:       s.RepoHandles(),
		Unverified:  s.unverified,
		MissingEnv:  slices.Clone(s.missingEnv),
	}
}

// FromSnapshot starts a sandbox on a saved file system. The config may be the
// snapshot's own, unless that is Unverified ([ErrUnverified]). Hardware, secrets,
// ports and limits come from the config; packages, files and repositories are
// there already and are not prepared again, files only [WithRefreshedFiles].
func FromSnapshot(ctx context.Context, snapshot *Snapshot, config SandboxConfig, opts ...Option) (*Sandbox, error) {
	s, err := restored(snapshot, config, opts)
	if err != nil {
		return nil, err
	}
	return s.Start(ctx)
}

// restored prepares a sandbox that Start will put on the snapshot's image.
func restored(snapshot *Snapshot, config SandboxConfig, opts []Option) (*Sandbox, error) {
	if snapshot == nil || snapshot.ImageID == "" {
		return nil, errors.New("restore snapshot: it has no image ID")
	}
	if snapshot.Dir != "" {
		return nil, fmt.Errorf("restore snapshot %s: it holds the directory %s alone: use RestoreDir", snapshot.ImageID, snapshot.Dir)
	}
	if snapshot.Unverified && reflect.DeepEqual(config, snapshot.Config) {
		return nil, fmt.Errorf("restore snapshot %s: %w that it was made of, so that nothing says what it may have: give a config of your own",
			snapshot.ImageID, ErrUnverified)
	}
	s := NewSandbox(config, opts...)
	s.from = snapshot
	s.warnOfMissingEnv()
	s.models, s.repos = snapshot.Models, snapshot.Repos
	return s, nil
}

// warnOfMissingEnv tells of variables that the saved sandbox had and this one
// will not have.
func (s *Sandbox) warnOfMissingEnv() {
	missing := slices.DeleteFunc(slices.Clone(s.from.MissingEnv), func(name string) bool {
		_, set := s.config.Env[name]
		return set || slices.Contains(s.config.Secrets, name)
	})
	if len(missing) > 0 {
		s.opts.logger.Warn("the restored sandbox lacks variables of env, whose values the snapshot does not have: "+
			"set them in the config (seer restore: --env NAME=VALUE, or -f)", "env", strings.Join(missing, ","), "snapshot", s.from.ImageID)
	}
}

// checkSnapshot finds out before anything is provisioned whether the image is still there.
func (s *Sandbox) checkSnapshot(ctx context.Context) error {
	if err := s.from.checkBackend(s.backend.name); err != nil {
		return err
	}
	err := publicError(s.client.ImageExists(ctx, s.from.ImageID))
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("it has expired, was deleted, or belongs to another server or account: %w", err)
	}
	if err != nil {
		return fmt.Errorf("restore snapshot %s (%q of %s): %w", s.from.ImageID, s.from.Description,
			s.from.CreatedAt.Format(time.DateTime), err)
	}
	return nil
}

func (n *Snapshot) checkBackend(name string) error {
	if n.Backend != "" && n.Backend != name {
		return fmt.Errorf("restore snapshot %s: it was made on the %s backend, this is %s", n.ImageID, n.Backend, name)
	}
	return nil
}
