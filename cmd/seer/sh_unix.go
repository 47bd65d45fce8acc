//go:build !windows

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// followSize calls resize whenever the terminal's size changes, until ctx ends.
func followSize(ctx context.Context, resize func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-changed:
			resize()
		case <-ctx.Done():
			return
		}
	}
}
