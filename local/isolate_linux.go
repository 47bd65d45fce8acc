package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/isolation"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

// anyPython is the image of this machine's own Python.
const anyPython = "python:3"

// isolate makes a sandbox outside of any server: one directory, one address.
func isolate(ctx context.Context, spec isolation.Spec) (isolation.Place, error) {
	dir, err := StateDir()
	if err != nil {
		return nil, err
	}
	if err := linux.Probe(ctx, dir); err != nil {
		return nil, err
	}
	host, err := linux.New(linux.Config{Dir: dir, Logger: spec.Logger})
	if err != nil {
		return nil, err
	}
	r := &room{runtime: host, port: spec.Host.Port(), close: sync.OnceValue(host.Close)}
	if err := r.start(ctx, spec); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return r, nil
}

// room is a sandbox in which isolated programs run.
type room struct {
	runtime *linux.Runtime
	sandbox runtime.Sandbox
	port    uint16
	close   func() error
}

func (r *room) start(ctx context.Context, spec isolation.Spec) error {
	image, err := r.runtime.Pull(ctx, anyPython, runtime.PullOptions{})
	if err != nil {
		return err
	}
	r.sandbox, err = r.runtime.Start(ctx, runtime.Spec{
		ID:      "is-" + strings.ToLower(rand.Text()),
		Image:   image.ID,
		Command: []string{"sleep", "infinity"},
		Dirs:    []runtime.DirMount{{Source: spec.Dir, Path: isolation.Workspace}},
		Workdir: isolation.Workspace,
		Network: runtime.Network{Only: []netip.AddrPort{spec.Host}},
	})
	if err != nil {
		return err
	}
	for _, warning := range r.sandbox.Warnings() {
		spec.Logger.Debug("isolated session", "warning", warning)
	}
	return nil
}

func (r *room) HostAddress() string {
	return net.JoinHostPort(linux.HostName, strconv.Itoa(int(r.port)))
}

func (r *room) Start(ctx context.Context, args, env []string) (isolation.Process, error) {
	p, err := r.sandbox.Exec(ctx, runtime.ExecSpec{Args: args, Env: env})
	if err != nil {
		return nil, fmt.Errorf("run %s apart from this machine: %w", args[0], err)
	}
	return isolated{p}, nil
}

func (r *room) Close() error { return r.close() }

// isolated is a program in a room.
type isolated struct{ runtime.Process }

func (p isolated) Wait() (code, signal int) {
	<-p.Done()
	status := p.Status()
	return status.Code, status.Signal
}
