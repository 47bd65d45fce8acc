// Package runtime is the seam of the local backend: what the protocol half
// (internal/modalserver) asks of whatever runs sandboxes. It knows neither
// Modal nor Linux. Package linux runs real isolated processes; Scripted runs
// a function instead, for tests on any operating system.
//
// Every type may be used from several goroutines at once.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
)

// Errors that the protocol half turns into answers of its own. Match them
// with errors.Is; the wrapping error says what was missing.
var (
	ErrNotFound    = errors.New("not found")
	ErrUnsupported = errors.New("not supported by this runtime")
	ErrEnded       = errors.New("sandbox has ended")
)

// Runtime makes images and starts sandboxes on them.
type Runtime interface {
	// Pull resolves a registry reference ("python:3.11-slim-bookworm") to an
	// image. A reference that the host itself can stand in for needs no network.
	Pull(ctx context.Context, ref string, opts PullOptions) (Image, error)
	// Build runs the steps of one layer on top of an image. The result is kept
	// across restarts. A failing step returns a *StepError.
	Build(ctx context.Context, spec BuildSpec) (Image, error)
	// Image returns a stored image by its ID, or ErrNotFound.
	Image(ctx context.Context, id string) (Image, error)
	// RemoveImage forgets an image. Layers that other images or running
	// sandboxes use stay until those are gone.
	RemoveImage(ctx context.Context, id string) error

	// CreateVolume makes an empty volume; an existing one is left as it is.
	CreateVolume(ctx context.Context, id string) error
	// RemoveVolume deletes a volume and its files.
	RemoveVolume(ctx context.Context, id string) error
	// VolumeFS reads a volume's files. Paths are fs.ValidPath; symbolic links
	// are never followed out of the volume.
	VolumeFS(ctx context.Context, id string) (fs.FS, error)

	// Start starts a sandbox and returns once its command runs.
	Start(ctx context.Context, spec Spec) (Sandbox, error)
	// Close ends every sandbox, waits for them and releases what the runtime holds.
	Close() error
}

// PullOptions hold what a private registry asks for. Log takes progress lines; nil discards them.
type PullOptions struct {
	Username, Password string
	Log                io.Writer
}

// Image is a root file system at rest with the settings its processes start with.
type Image struct {
	ID     string
	Config ImageConfig
}

// ImageConfig is what an image says about the processes started in it.
type ImageConfig struct {
	Env        []string // "NAME=value", in order; the later one wins
	Workdir    string   // "" = "/"
	Entrypoint []string
	Cmd        []string
	Shell      []string // for RUN in shell form; nil = {"/bin/sh", "-c"}
	User       string   // "" = root
}

// BuildSpec describes one layer.
type BuildSpec struct {
	Base    string      // ID of the image below
	Steps   []Step      // run in order, in one file system; none = a layer with only a new Config
	Config  ImageConfig // what the new image starts processes with; also in force while the steps run
	Env     []string    // in the environment of the steps alone, never stored: layer secrets
	Network Network     // what the steps may reach
	Log     io.Writer   // combined output of the steps while they run; nil discards it
}

// Step is one instruction of a layer: exactly one field is set.
type Step struct {
	Run  []string // an argv
	Copy *Copy
}

// Copy puts a file tree into the image: files of Source, relative to its root, go below Target.
type Copy struct {
	Source fs.FS
	Target string
}

// StepError says which step of a Build failed and how. The output went to BuildSpec.Log.
type StepError struct {
	Step   int // index into BuildSpec.Steps
	Status ExitStatus
}

func (e *StepError) Error() string { return fmt.Sprintf("build step %d: %s", e.Step+1, e.Status) }

// Spec describes a sandbox.
type Spec struct {
	ID       string // unique; names cgroups, directories and the host name
	Image    string // image ID
	Command  []string
	Env      []string // on top of the image's
	Workdir  string   // "" = the image's
	PTY      *PTY     // nil = pipes
	Volumes  []VolumeMount
	Dirs     []DirMount
	Network  Network
	CPU      float64 // cores; 0 = no limit
	MemoryMB int64   // MiB; 0 = no limit
	Docker   bool    // a /var/lib/docker to work in
	Stays    bool    // the sandbox outlives its command, and ends with Terminate
	// Prepare fills the file system before the command runs. nil = as the image has it.
	Prepare func(ctx context.Context, files Files) error
}

// VolumeMount places a volume in a sandbox.
type VolumeMount struct {
	Volume   string // ID
	Path     string // absolute
	ReadOnly bool
}

// DirMount shows a directory of this machine in a sandbox, which may write to it.
type DirMount struct {
	Source string // absolute
	Path   string // absolute, in the sandbox
}

// Network says what a sandbox may reach. Whatever it says, the host's own
// addresses, loopback, private, link-local and metadata ranges are refused,
// unless Private opens private ranges (image builds and clones may need a
// mirror there) or the runtime was told of a single host and port.
type Network struct {
	Blocked bool           // nothing at all
	Allow   []netip.Prefix // nil = everything that is not refused; else only these
	// Only, unless nil, opens these addresses, on this machine's loopback too,
	// and nothing else, name resolution included. It goes before the others.
	Only []netip.AddrPort
	// Open, unless nil, is asked at every TCP connection to this machine's
	// loopback whether the address is open to the sandbox as long as Allow is nil.
	Open    func(netip.AddrPort) bool
	Private bool // private ranges are not refused (loopback, the host and metadata still are)
}

// PTY is the size of a terminal and the TERM its processes see.
type PTY struct {
	Rows, Cols uint16
	Term       string
}

// Sandbox is a running set of isolated processes with a file system and a network of their own.
type Sandbox interface {
	// Main is the sandbox's own command. The sandbox ends with it, unless it Stays.
	Main() Process
	// Exec starts a further process. A program that does not exist or may not be
	// run is an error (fs.ErrNotExist, fs.ErrPermission). It returns ErrEnded once
	// the sandbox has ended.
	Exec(ctx context.Context, spec ExecSpec) (Process, error)
	// Dial connects to a TCP port inside, also to services bound to 127.0.0.1 there.
	Dial(ctx context.Context, port uint16) (net.Conn, error)
	// Files reads and writes the sandbox's file system as its root user.
	Files() Files
	// Snapshot stores the file system, volumes left out, as a new image.
	Snapshot(ctx context.Context) (Image, error)
	// SnapshotDir stores one directory as an image whose root is that directory.
	SnapshotDir(ctx context.Context, path string) (Image, error)
	// MountImage shows an image's tree at path; an empty ID shows an empty directory.
	MountImage(ctx context.Context, path, imageID string) error
	// Terminate kills every process, waits, unmounts and deletes the sandbox's layers. It is idempotent.
	Terminate(ctx context.Context) error
	// Done is closed when the sandbox has ended and nothing of it is left.
	Done() <-chan struct{}
	// Busy reports whether an exec runs or a connection through Dial is open. For idle timeouts.
	Busy() bool
	// Warnings says what this machine could not promise (memory limits, say), a sentence each.
	Warnings() []string
}

// ExecSpec describes a further process of a sandbox.
type ExecSpec struct {
	Args          []string
	Env           []string // on top of the sandbox's
	Workdir       string   // "" = the sandbox's
	PTY           *PTY
	DiscardStdout bool
	DiscardStderr bool
}

// Process is a process of a sandbox, leader of a session of its own.
type Process interface {
	Stdin() io.WriteCloser
	// Stdout and Stderr end when every process that inherited them has closed
	// them. With a PTY everything comes through Stdout.
	Stdout() io.ReadCloser
	Stderr() io.ReadCloser
	// Signal signals the process's whole session (a POSIX signal number).
	Signal(signal int) error
	Resize(rows, cols uint16) error
	// Done is closed when the process has ended; Status is valid from then on.
	Done() <-chan struct{}
	Status() ExitStatus
}

// ExitStatus says how a process ended.
type ExitStatus struct {
	Code   int  // exit code, when Signal is 0
	Signal int  // the signal that killed it
	OOM    bool // killed for its memory limit
}

func (s ExitStatus) String() string {
	switch {
	case s.OOM:
		return "killed: out of memory"
	case s.Signal != 0:
		return fmt.Sprintf("killed by signal %d", s.Signal)
	default:
		return fmt.Sprintf("exit status %d", s.Code)
	}
}

// Files is file access from outside the sandbox's processes. Errors are
// *fs.PathError with the syscall's error inside, so errors.Is with fs.ErrNotExist and so on works.
type Files interface {
	// OpenFile opens a regular file or a directory; pipes, sockets and devices are
	// errors.ErrUnsupported.
	OpenFile(ctx context.Context, path string, flag int, perm fs.FileMode) (File, error)
	Mkdir(ctx context.Context, path string, parents bool) error
	Remove(ctx context.Context, path string, recursive bool) error
	ReadDir(ctx context.Context, path string) ([]fs.FileInfo, error)
	Stat(ctx context.Context, path string) (fs.FileInfo, error)
}

// File is an open file of a sandbox.
type File interface {
	io.Reader
	io.Writer
	io.Seeker
	io.Closer
	Sync() error
}
