package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// The exit statuses of the command. exec and sh pass on the remote command's
// own, whatever it is.
const (
	exitFailure      = 1
	exitUsage        = 2
	exitConfig       = 3
	exitUnauthorized = 4
	exitNotFound     = 5
	exitEnded        = 6
	exitInterrupted  = 130
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// configError is a config or snapshot file that cannot be read.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// statusError ends the program with the exit status of a remote command, which
// has said itself what is wrong.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitCode tells what went wrong and returns the status to end with.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	var status statusError
	if errors.As(err, &status) {
		return int(status)
	}
	fmt.Fprintln(stderr, "seer:", shown.Text(err.Error()))
	var usage usageError
	var config *seer.ConfigError
	var file configError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &config), errors.As(err, &file):
		return exitConfig
	case errors.Is(err, seer.ErrUnauthorized), errors.Is(err, seer.ErrNoBackend), errors.Is(err, errEmbedded):
		return exitUnauthorized
	case errors.Is(err, seer.ErrNotFound):
		return exitNotFound
	case errors.Is(err, seer.ErrTerminated), errors.Is(err, seer.ErrSandboxLost):
		return exitEnded
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailure
	}
}
