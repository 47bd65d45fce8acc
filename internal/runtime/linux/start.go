//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/network"
)

// Start starts a sandbox and its command.
func (r *Runtime) Start(ctx context.Context, spec runtime.Spec) (runtime.Sandbox, error) {
	s, err := r.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start sandbox %s: %w", spec.ID, err)
	}
	return s, nil
}

func (r *Runtime) start(ctx context.Context, spec runtime.Spec) (*sandbox, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.starting.Done()
	img, err := r.image(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	s, err := r.raise(ctx, spec, img)
	if err != nil {
		return nil, err
	}
	if spec.Prepare != nil {
		if err := spec.Prepare(ctx, s.Files()); err != nil {
			return nil, errors.Join(err, s.fell())
		}
	}
	s.main, err = s.launch(ctx, runtime.ExecSpec{Args: spec.Command, PTY: spec.PTY}, func() {})
	if err != nil {
		return nil, errors.Join(err, s.fell())
	}
	r.mu.Lock()
	r.sandboxes[spec.ID] = s
	r.mu.Unlock()
	go s.supervise()
	return s, nil
}

// raise makes a sandbox in which nothing runs yet.
func (r *Runtime) raise(ctx context.Context, spec runtime.Spec, img layers.Image) (*sandbox, error) {
	files, err := r.store.NewSandbox(spec.ID, img)
	if err != nil {
		return nil, err
	}
	s := &sandbox{runtime: r, spec: spec, image: img, files: files, freezing: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// begin starts the first process and the network.
func (s *sandbox) begin(ctx context.Context) error {
	r := s.runtime
	cfg := guest.Config{
		Dir:      r.store.Dir(),
		Overlays: s.files.Overlays,
		Settings: guest.Settings{
			Hostname:   hostname(s.spec.ID),
			Hosts:      []string{network.HostIP + "\t" + network.HostName},
			Resolver:   network.GatewayIP,
			Privileges: r.privileges,
			Nesting:    s.spec.Docker,
			NoSetID:    len(s.spec.Dirs) > 0,
		},
	}
	binds, err := s.binds()
	if err != nil {
		return err
	}
	cfg.Binds = binds
	s.group, s.warnings = r.cgroups.make(s.spec.ID, s.spec.CPU, s.spec.MemoryMB)
	if cfg.Limits, err = processLimits(s.spec.MemoryMB, s.group != nil); err != nil {
		return err
	}
	group, err := s.group.enter()
	if err != nil {
		return err
	}
	var far int
	s.guest, far, err = guest.Start(ctx, &r.mounter, cfg, group)
	group.Close()
	if err != nil {
		return explain(err, observe(r.store.Dir()))
	}
	s.network, err = network.Serve(far, r.policy(s.spec.Network), network.Options{Logger: r.log, Budget: r.budget})
	if err != nil {
		s.kill()
		return err
	}
	return nil
}

// policy is what one sandbox may reach.
func (r *Runtime) policy(n runtime.Network) network.Policy {
	if n.Only != nil {
		return network.Policy{HostsOnly: true, Hosts: n.Only}
	}
	return network.Policy{Blocked: n.Blocked, Allow: n.Allow, Private: n.Private, Hosts: r.cfg.AllowHosts, Open: n.Open}
}

func (s *sandbox) binds() ([]mounter.Bind, error) {
	var binds []mounter.Bind
	for _, v := range s.spec.Volumes {
		dir, err := s.runtime.store.Volume(v.Volume)
		if err != nil {
			return nil, err
		}
		if !mountable(v.Path) {
			return nil, fmt.Errorf("mount volume %s: %q is no place for it", v.Volume, v.Path)
		}
		binds = append(binds, mounter.Bind{Source: dir, Target: filepath.Clean(v.Path), ReadOnly: v.ReadOnly})
	}
	for _, d := range s.spec.Dirs {
		if !filepath.IsAbs(d.Source) || !mountable(d.Path) {
			return nil, fmt.Errorf("mount directory %s: %q is no place for it", d.Source, d.Path)
		}
		binds = append(binds, mounter.Bind{Source: d.Source, Target: filepath.Clean(d.Path)})
	}
	if s.spec.Docker {
		_, own, err := s.files.Mount(nil, "/var/lib/docker")
		if err != nil {
			return nil, err
		}
		binds = append(binds, own...)
	}
	return binds, nil
}

func mountable(path string) bool { return filepath.IsAbs(path) && filepath.Clean(path) != "/" }

// hostname makes a valid host name of a sandbox's ID.
func hostname(id string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r == '.' {
			return '-'
		}
		return r
	}, id)
	return name[:min(len(name), 63)]
}

// supervise ends the sandbox when its command has ended, unless it stays, and
// cleans up.
func (s *sandbox) supervise() {
	if s.spec.Stays {
		<-s.guest.Done()
	}
	<-s.main.Done()
	s.err = s.fell()
	s.runtime.mu.Lock()
	delete(s.runtime.sandboxes, s.spec.ID)
	s.runtime.mu.Unlock()
	close(s.done)
}

// fell ends what still runs, waits and gives back what the sandbox held.
func (s *sandbox) fell() error {
	s.kill()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.running.Wait()
	if words := s.guest.LastWords(); words != "" {
		s.runtime.log.Warn("sandbox broke", slog.String("id", s.spec.ID), slog.String("cause", words))
	}
	return s.release()
}

// release gives back what a sandbox without processes held.
func (s *sandbox) release() error {
	var errs []error
	if s.network != nil {
		errs = append(errs, s.network.Close())
	}
	return errors.Join(append(errs, s.group.remove(), s.files.Remove())...)
}
