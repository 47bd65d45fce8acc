//go:build linux

package linux

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
)

// Pull resolves a reference. Those of Python's and of the host's own
// distribution stand on the host's files; any other comes from its registry.
func (r *Runtime) Pull(ctx context.Context, ref string, opts runtime.PullOptions) (runtime.Image, error) {
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	img, err := r.pull(ctx, ref, opts)
	if err != nil {
		return runtime.Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	return runtime.Image{ID: img.ID, Config: img.Config}, nil
}

func (r *Runtime) pull(ctx context.Context, ref string, opts runtime.PullOptions) (layers.Image, error) {
	name, tag := splitReference(ref)
	if version, ok := pythonVersion(name, tag); ok {
		return r.python(ctx, version, opts.Log)
	}
	if r.store.IsHost(name, tag) {
		return r.store.HostImage(ctx)
	}
	r.building.Lock()
	defer r.building.Unlock()
	return r.store.Pull(ctx, ref, opts)
}

// splitReference splits a reference to the standard registry's own images into
// name and tag. Any other has no name.
func splitReference(ref string) (name, tag string) {
	for _, prefix := range []string{"docker.io/", "index.docker.io/", "library/"} {
		ref = strings.TrimPrefix(ref, prefix)
	}
	name, tag, _ = strings.Cut(ref, ":")
	if strings.ContainsAny(ref, "/@") {
		return "", ""
	}
	if tag == "" {
		tag = "latest"
	}
	return name, tag
}

// pythonVersion reads "3.11" from a tag of Python's images, "" from those that
// leave the version open. Images of another distribution are not ours.
func pythonVersion(name, tag string) (string, bool) {
	if name != "python" {
		return "", false
	}
	version, variant, _ := strings.Cut(tag, "-")
	switch strings.TrimPrefix(strings.TrimPrefix(variant, "slim"), "-") {
	case "", "bullseye", "bookworm", "trixie":
	default:
		return "", false
	}
	if version == "latest" || version == "slim" || version == "3" {
		return "", true
	}
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 || parts[0] != "3" {
		return "", false
	}
	return parts[0] + "." + parts[1], true
}
