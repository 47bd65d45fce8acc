package seer

import (
	"context"
	_ "embed"
	"strconv"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// A sandbox lives for as long as its lease lasts, so that a program that was
// killed leaves nothing behind that costs money. A server on this machine keeps
// the lease itself. On Modal the sandbox's own command has to, in the sandbox.
//
//go:embed scripts/watchdog.sh
var watchdogScript string

//go:embed scripts/lease.sh
var leaseScript string

const noLease = "none"

// watchdogCommand is the command a sandbox is created with. It has daemons boot
// as soon as anything can: who runs them later finds them at it.
func watchdogCommand(lease time.Duration, daemons []daemon) ([]string, error) {
	command := []string{"sh", "-c", watchdogScript, "seer-watchdog", leaseValue(lease)}
	if len(daemons) > 0 {
		command = append(command, daemonScript)
	}
	for _, d := range daemons {
		order, err := d.order()
		if err != nil {
			return nil, err
		}
		command = append(command, order)
	}
	return command, nil
}

// leaseValue is a lease in whole seconds, as scripts and tags have it.
func leaseValue(lease time.Duration) string {
	if lease <= 0 {
		return noLease
	}
	return strconv.Itoa(int(lease.Round(time.Second) / time.Second))
}

// leaseOf is the lease a sandbox is created with; 0 = none. One that ends by
// itself when idle needs none, and renewing it would keep it from being idle.
func leaseOf(config SandboxConfig, o options) time.Duration {
	if config.IdleTimeout > 0 || o.lease < 0 {
		return 0
	}
	return o.lease
}

// renewLease tells the sandbox that this program uses it.
func (s *Sandbox) renewLease(ctx context.Context) error {
	lease := leaseOf(s.config, s.opts)
	if lease == 0 {
		return nil
	}
	if s.remote.KeepsLease() {
		return s.remote.RenewLease(ctx, lease)
	}
	return s.setLease(ctx, leaseValue(lease))
}

// keepLease renews the lease until ctx ends. The first renewal comes after a
// third of it, so short-lived sandboxes never pay for one.
func (s *Sandbox) keepLease(ctx context.Context) {
	lease := leaseOf(s.config, s.opts)
	if lease == 0 {
		return
	}
	s.tasks.Go(func() {
		ticker := time.NewTicker(lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if err := s.renewLease(ctx); err != nil && ctx.Err() == nil {
				s.opts.logger.WarnContext(ctx, "renew lease of sandbox", "sandbox", s.remote.ID(), "error", err)
			}
		}
	})
}

// liftLease lets the sandbox live until its Timeout, whatever becomes of this program.
func (s *Sandbox) liftLease(ctx context.Context) error {
	if leaseOf(s.config, s.opts) == 0 {
		return nil
	}
	lift := s.remote.LiftLease
	if !s.remote.KeepsLease() {
		lift = func(ctx context.Context) error { return s.setLease(ctx, noLease) }
	}
	if err := lift(ctx); err != nil {
		return err
	}
	return s.tagDetached(ctx)
}

// tagDetached tells [Reap] that nobody needs to keep the sandbox. Who merely
// looked at one, by its ID and without a lease, leaves it as it was.
func (s *Sandbox) tagDetached(ctx context.Context) error {
	if started := s.app.ID != ""; !started && leaseOf(s.config, s.opts) == 0 {
		return nil
	}
	tags, err := s.remote.Tags(ctx)
	if err != nil {
		return err
	}
	tags[tagLease] = leaseDetached
	return s.remote.SetTags(ctx, tags)
}

// setLease tells the sandbox's own command.
func (s *Sandbox) setLease(ctx context.Context, value string) error {
	process, err := s.remote.Exec(ctx, modalclient.ExecSpec{
		Args:          []string{"sh", "-c", leaseScript, "seer-lease", value},
		DiscardStdout: true,
		DiscardStderr: true,
		Timeout:       time.Minute,
	})
	if err != nil {
		return err
	}
	code, signal, err := process.Wait(ctx)
	if err == nil && (code != 0 || signal != 0) {
		err = &ExitError{Code: code, Signal: signal}
	}
	return err
}
