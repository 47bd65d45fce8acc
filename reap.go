package seer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

// leaseFile holds, on Modal, the time at which a sandbox's lease ends, or "none"
// once it was lifted. In a sandbox without a lease it is there while another
// program uses the sandbox.
const (
	leaseFile      = "/dev/shm/seer/lease"
	leaseFileLimit = 4 << 10 // bytes
)

// Orphans returns the sandboxes that nobody keeps any more: the program that
// started them is gone, which only its own machine can tell, it has not closed
// them, and their lease has run out or they have none. Sandboxes with a lease
// end by themselves when it runs out, so there are few. The error joins a
// *[SandboxError] for each that could not be asked.
func Orphans(ctx context.Context, opts ...Option) ([]Info, error) {
	var orphans []Info
	o := newOptions(opts)
	err := withClient(ctx, o, func(client *modalclient.Client) (err error) {
		orphans, err = findOrphans(ctx, client, o.appName)
		return err
	})
	return orphans, err
}

// Reap ends every orphan and returns those that it has ended. The error joins
// a *[SandboxError] for each that could not be asked or ended.
func Reap(ctx context.Context, opts ...Option) ([]Info, error) {
	var ended []Info
	o := newOptions(opts)
	err := withClient(ctx, o, func(client *modalclient.Client) error {
		orphans, err := findOrphans(ctx, client, o.appName)
		errs := []error{err}
		for _, orphan := range orphans {
			if err := terminateID(ctx, client, orphan.ID); err != nil {
				errs = append(errs, &SandboxError{SandboxID: orphan.ID, Err: err})
			} else {
				ended = append(ended, orphan)
			}
		}
		return errors.Join(errs...)
	})
	return ended, err
}

func findOrphans(ctx context.Context, client *modalclient.Client, appName string) ([]Info, error) {
	var suspects []Info
	for found, err := range sandboxesOf(ctx, client, appName, nil) {
		if err != nil {
			return nil, fmt.Errorf("find orphans: %w", publicError(err))
		}
		if info := newInfo(found); info.Owner != "" && !info.Detached && info.program.gone() {
			suspects = append(suspects, info)
		}
	}
	expired, errs := make([]bool, len(suspects)), make([]error, len(suspects))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for i, info := range suspects {
		group.Go(func() error {
			expired[i], errs[i] = leaseExpired(ctx, client, info)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	var orphans []Info
	for i, info := range suspects {
		if expired[i] {
			orphans = append(orphans, info)
		}
	}
	return orphans, errors.Join(errs...)
}

// leaseExpired finds out whether another program, which found the sandbox by
// its ID, uses it.
func leaseExpired(ctx context.Context, client *modalclient.Client, info Info) (expired bool, err error) {
	remote, err := client.Sandbox(ctx, info.ID)
	if err == nil {
		defer remote.Detach()
		expired, err = askForLease(ctx, remote, info)
	}
	switch {
	case err == nil:
		return expired, nil
	case errors.Is(err, modalclient.ErrTerminated), errors.Is(err, modalclient.ErrNotFound):
		return false, nil // it has ended meanwhile
	default:
		return false, &SandboxError{SandboxID: info.ID, Err: publicError(err)}
	}
}

// askForLease asks the server, or the sandbox itself on Modal, whose word does
// no more than keep it until its timeout.
func askForLease(ctx context.Context, remote *modalclient.Sandbox, info Info) (expired bool, err error) {
	if remote.KeepsLease() {
		left, err := remote.LeaseLeft(ctx)
		return left <= 0, err
	}
	text, err := remote.ReadAtMost(ctx, leaseFile, leaseFileLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Now().After(info.CreatedAt.Add(info.Lease)), nil
	}
	return err == nil && leaseTextExpired(string(text), time.Now()), err
}

// leaseTextExpired reads what scripts/lease.sh writes. What it cannot read
// has not expired.
func leaseTextExpired(text string, now time.Time) bool {
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return err == nil && now.After(time.Unix(seconds, 0))
}
