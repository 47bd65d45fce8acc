//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// images are those that the suites ask for, by the packages they are made of:
// as in Alpine's the shell and most commands are busybox, but Debian's lacks some.
var images = []struct {
	packages []string
	tags     []string
}{
	{[]string{"busybox-static", "coreutils"}, []string{"alpine:3.21", "alpine:3.13", "alpine:latest", "debian:12-slim"}},
	{[]string{"busybox-static", "coreutils", "python3-minimal"}, []string{"python:3.12-alpine", "python:3.13-alpine"}},
}

// imageRegistry is a registry on loopback.
type imageRegistry struct {
	address string
	server  *http.Server
}

func (r *imageRegistry) close() { _ = r.server.Close() }

// serveImages starts a registry and puts the images into it.
func serveImages(ctx context.Context, packages string) (*imageRegistry, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &imageRegistry{address: listener.Addr().String(), server: &http.Server{
		Handler:           registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, 0))),
		ReadHeaderTimeout: time.Minute,
	}}
	go r.server.Serve(listener) //nolint:errcheck // ends with close
	for _, image := range images {
		if err := r.push(ctx, packages, image.packages, image.tags); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *imageRegistry) push(ctx context.Context, dir string, packages, tags []string) error {
	debs, err := download(ctx, dir, packages...)
	if err != nil {
		return err
	}
	root, err := newRootFS(ctx, debs)
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(root.archive.Bytes())), nil
	})
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	image, err = mutate.Config(image, v1.Config{
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Cmd: []string{"/bin/sh"},
	})
	if err != nil {
		return err
	}
	for _, tag := range tags {
		reference, err := name.ParseReference(r.address + "/library/" + tag)
		if err != nil {
			return err
		}
		if err := remote.Write(reference, image, remote.WithContext(ctx)); err != nil {
			return fmt.Errorf("push %s: %w", tag, err)
		}
	}
	return nil
}
