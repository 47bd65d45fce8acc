//go:build linux

package linux

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
)

// Build runs the steps of a layer in a sandbox of their own and keeps what
// they have written.
func (r *Runtime) Build(ctx context.Context, spec runtime.BuildSpec) (runtime.Image, error) {
	img, err := r.image(ctx, spec.Base)
	if err == nil {
		img, err = r.build(ctx, img, spec, "")
	}
	if err != nil {
		return runtime.Image{}, fmt.Errorf("build image: %w", err)
	}
	return runtime.Image{ID: img.ID, Config: img.Config}, nil
}

func (r *Runtime) build(ctx context.Context, base layers.Image, spec runtime.BuildSpec, ref string) (layers.Image, error) {
	if err := r.enter(); err != nil {
		return layers.Image{}, err
	}
	defer r.starting.Done()
	if len(spec.Steps) == 0 {
		return r.store.Derive(base, spec.Config)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.alive, func() { cancel(errClosed) })()
	if spec.Log == nil {
		spec.Log = io.Discard
	}

	base.Config = spec.Config
	id := "build-" + strings.ToLower(rand.Text()[:12])
	s, err := r.raise(ctx, runtime.Spec{ID: id, Network: spec.Network}, base)
	if err != nil {
		return layers.Image{}, err
	}
	for i, step := range spec.Steps {
		if err := s.step(ctx, i, step, spec); err != nil {
			return layers.Image{}, errors.Join(err, s.fell())
		}
	}
	s.kill()
	img, err := s.files.Keep(spec.Config, ref)
	return img, errors.Join(err, s.fell())
}

func (s *sandbox) step(ctx context.Context, index int, step runtime.Step, spec runtime.BuildSpec) error {
	if step.Copy != nil {
		return s.copyIn(ctx, step.Copy)
	}
	status, err := s.run(ctx, step.Run, spec.Env, spec.Log)
	if err != nil {
		return err
	}
	if status != (runtime.ExitStatus{}) {
		return &runtime.StepError{Step: index, Status: status}
	}
	return nil
}

// run runs a command to its end, and the end of everything it left behind.
func (s *sandbox) run(ctx context.Context, args, env []string, log io.Writer) (runtime.ExitStatus, error) {
	read, write, err := pipe(false)
	if err != nil {
		return runtime.ExitStatus{}, err
	}
	defer func() { _ = read.Close() }()
	kills := s.group.outOfMemory()
	cmd := guest.Command{
		Args: args,
		Env:  s.environment(runtime.ExecSpec{Env: env}),
		Dir:  s.workdir(),
		User: s.image.Config.User,
	}
	p, _, err := s.guest.Exec(ctx, cmd, nil, write, write)
	_ = write.Close()
	if err != nil {
		return runtime.ExitStatus{}, err
	}
	var copyErr error
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, copyErr = io.Copy(log, read)
	}()
	select {
	case <-p.Done():
	case <-ctx.Done():
		s.kill()
		<-copied
		return runtime.ExitStatus{}, context.Cause(ctx)
	}
	if err := s.guest.KillProcesses(ctx); err != nil {
		return runtime.ExitStatus{}, err
	}
	<-copied
	if copyErr != nil {
		return runtime.ExitStatus{}, fmt.Errorf("write build log: %w", copyErr)
	}
	code, signal := p.Status()
	return runtime.ExitStatus{Code: code, Signal: int(signal), OOM: signal != 0 && s.group.outOfMemory() > kills}, nil
}

// copyIn copies a tree into the sandbox.
func (s *sandbox) copyIn(ctx context.Context, c *runtime.Copy) error {
	target := path.Join("/", s.workdir(), c.Target)
	if path.IsAbs(c.Target) {
		target = path.Clean(c.Target)
	}
	err := fs.WalkDir(c.Source, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := path.Join(target, name)
		switch {
		case d.IsDir():
			return s.guest.Mkdir(ctx, to, true)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := fs.ReadLink(c.Source, name)
			if err != nil {
				return err
			}
			return s.guest.Symlink(ctx, link, to)
		default:
			return s.copyFile(ctx, c.Source, name, to)
		}
	})
	if err != nil {
		return fmt.Errorf("copy to %s: %w", target, err)
	}
	return nil
}

func (s *sandbox) copyFile(ctx context.Context, source fs.FS, name, to string) error {
	src, err := source.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := s.guest.OpenFile(ctx, to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Chmod(info.Mode().Perm()), dst.Close())
}
