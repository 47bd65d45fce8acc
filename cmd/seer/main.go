// Command seer runs and manages sandboxes from a shell. `seer help` lists what
// it can do; docs/cli.md tells more.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	if !signal.Ignored(syscall.SIGHUP) { // nohup
		// What runs in the sandbox for a window that is closed ends with it. A
		// window sends more than one of these.
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}
