//go:build linux

package layers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// Pull returns the image of a reference, from its registry unless it has been
// pulled before.
func (s *Store) Pull(ctx context.Context, ref string, opts runtime.PullOptions) (Image, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return Image{}, err
	}
	if img, err := s.Find(parsed.Name()); err == nil || !errors.Is(err, runtime.ErrNotFound) {
		return img, err
	}
	options := []remote.Option{remote.WithContext(ctx)}
	if opts.Username != "" || opts.Password != "" {
		options = append(options, remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: opts.Username, Password: opts.Password})))
	}
	pulled, err := remote.Image(s.source(parsed, opts), options...)
	if err != nil {
		return Image{}, err
	}
	return s.unpack(pulled, parsed.Name(), opts)
}

// source is where an image comes from: the mirror, if there is one, unless the
// image needs credentials, which are for its own registry alone.
func (s *Store) source(ref name.Reference, opts runtime.PullOptions) name.Reference {
	repository := ref.Context()
	if s.mirror == nil || repository.RegistryStr() != name.DefaultRegistry || opts.Username != "" || opts.Password != "" {
		return ref
	}
	repository = s.mirror.Repo(repository.RepositoryStr()) // in full: "library/alpine"
	if digest, ok := ref.(name.Digest); ok {
		return repository.Digest(digest.DigestStr())
	}
	return repository.Tag(ref.Identifier())
}

func (s *Store) unpack(pulled v1.Image, ref string, opts runtime.PullOptions) (Image, error) {
	file, err := pulled.ConfigFile()
	if err != nil {
		return Image{}, fmt.Errorf("read configuration: %w", err)
	}
	all, err := pulled.Layers()
	if err != nil {
		return Image{}, fmt.Errorf("read layers: %w", err)
	}
	building, err := s.NewLayer()
	if err != nil {
		return Image{}, err
	}
	img := Image{Kind: Pulled, Ref: ref, Config: imageConfig(file.Config)}
	for i, layer := range all {
		if opts.Log != nil {
			_, _ = fmt.Fprintf(opts.Log, "layer %d of %d\n", i+1, len(all))
		}
		if err := unpackLayer(filepath.Join(building.Dir, fmt.Sprint(i)), layer); err != nil {
			return Image{}, errors.Join(fmt.Errorf("unpack layer %d: %w", i+1, err), building.Remove())
		}
	}
	img, err = building.commitAll(len(all), img)
	return img, errors.Join(err, building.Remove())
}

func imageConfig(c v1.Config) runtime.ImageConfig {
	return runtime.ImageConfig{
		Env: c.Env, Workdir: c.WorkingDir, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Shell: c.Shell, User: c.User,
	}
}

func unpackLayer(dir string, layer v1.Layer) error {
	root := filepath.Join(dir, rootName)
	if err := makeDir(root, 0o755); err != nil {
		return err
	}
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	return errors.Join(unpackTar(root, content), content.Close())
}
