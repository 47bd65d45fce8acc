package modelcache

import (
	"context"
	"errors"
	"io"
	"time"
)

// Store is access to volumes without a sandbox. Its methods may be called from
// several goroutines.
type Store interface {
	// ReadFile reads a file as of the volume's newest commit. The error matches
	// fs.ErrNotExist when there is no such volume or file.
	ReadFile(ctx context.Context, volume, path string) ([]byte, error)
	// Files lists all regular files of a volume, with the same error.
	Files(ctx context.Context, volume string) ([]FileInfo, error)
	// Volumes lists the names of all volumes.
	Volumes(ctx context.Context) ([]string, error)
	// Delete deletes a volume; one that does not exist is no error.
	Delete(ctx context.Context, volume string) error
}

// FileInfo is one file on a volume.
type FileInfo struct {
	Path    string // relative to the volume's root
	Size    int64  // bytes
	ModTime time.Time
}

// Errors of [Writers].
var (
	ErrNameTaken  = errors.New("a sandbox of that name is running")
	ErrNotRunning = errors.New("no sandbox of that name is running")
)

// Writers starts downloads in CPU sandboxes. The lock that makes a volume have
// one writer at a time is the sandbox's name, of which only one can run.
type Writers interface {
	// Start makes the volume if need be and starts a sandbox for a job, or
	// returns ErrNameTaken.
	Start(ctx context.Context, job Job) (Run, error)
	// Attach finds a running sandbox that any program started, or returns
	// ErrNotRunning.
	Attach(ctx context.Context, name string) (Run, error)
}

// Job is one sandbox to start.
type Job struct {
	Name      string        // of the sandbox
	Volume    string        // made if missing, mounted writable
	MountPath string        // where
	Packages  []string      // pip requirements of the image
	Argv      []string      // what to run in it
	Stdin     []byte        // what to send it; holds the hub's token
	Timeout   time.Duration // when the sandbox ends by itself: the lease on the volume
}

// Run is a sandbox that downloads.
type Run interface {
	// Output is everything the program in it writes to stdout, from the
	// beginning, until it ends.
	Output() io.Reader
	// Stop ends the program with SIGTERM and waits for the sandbox to end.
	Stop(ctx context.Context) error
	// Close lets go of it, which ends its output. A sandbox that another program
	// started runs on.
	Close() error
}
