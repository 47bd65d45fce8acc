// Package isolation is the seam between local sessions and what runs their
// interpreter apart from this machine. Package local fills it when a program
// imports it, as drivers of database/sql do; the sessions know no more than
// this package.
package isolation

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
)

// ErrNone means that the program imports nothing that isolates.
var ErrNone = errors.New("no isolation in this program")

// Workspace is where programs inside find Spec.Dir, and where they start.
const Workspace = "/workspace"

// Spec says what programs may touch of this machine. Nothing else is there.
type Spec struct {
	Dir    string         // absolute; they read and write it as Workspace
	Host   netip.AddrPort // on loopback: the one address that they reach
	Logger *slog.Logger
}

// Place is where isolated programs run. It may be used from several goroutines.
type Place interface {
	// HostAddress is Spec.Host as programs inside reach it, "host:port".
	HostAddress() string
	// Start starts a program, which sees only the given variables and the
	// place's own. ctx bounds the start.
	Start(ctx context.Context, args, env []string) (Process, error)
	// Close ends every program, and waits. It may be called again.
	Close() error
}

// Process is a program that runs in a Place.
type Process interface {
	Stdin() io.WriteCloser
	// Stdout and Stderr end when everything that inherited them has closed them.
	Stdout() io.ReadCloser
	Stderr() io.ReadCloser
	// Signal signals the program and what it started; one that has ended is no error.
	Signal(signal int) error
	// Wait waits for the program's end: its exit code, or the signal that killed it.
	Wait() (code, signal int)
}

// Opener makes a Place.
type Opener func(ctx context.Context, spec Spec) (Place, error)

var registered struct {
	sync.Mutex
	open Opener
}

// Register says what makes places. The last one counts.
func Register(open Opener) {
	registered.Lock()
	defer registered.Unlock()
	registered.open = open
}

// Open makes a Place with what was registered; without, it returns ErrNone.
func Open(ctx context.Context, spec Spec) (Place, error) {
	registered.Lock()
	open := registered.open
	registered.Unlock()
	if open == nil {
		return nil, ErrNone
	}
	return open(ctx, spec)
}
