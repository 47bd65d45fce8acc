//go:build linux

package guest

import "github.com/ajobi-uhc/seer-go/internal/runtime/linux/mounter"

// Config describes the sandbox that Start makes.
type Config struct {
	// Dir is the absolute path below which the relative paths of the overlays
	// and binds lie. Mount tables inside the sandbox show the relative ones only.
	Dir string
	// Overlays begin with the one that is mounted at /; the others lie inside it.
	Overlays []mounter.Overlay
	Binds    []mounter.Bind

	Settings
}

// Settings are what the first process is told of a sandbox: nothing of the host.
type Settings struct {
	Hostname string
	// Hosts are lines for /etc/hosts, Resolver the address of the name server.
	Hosts    []string
	Resolver string

	Privileges Privileges
	Limits     Limits
	// Nesting leaves mounts and namespaces to programs inside, as far as the
	// kernel lets them: for containers in the sandbox.
	Nesting bool
	// NoSetID keeps files from getting set-user-ID bits and capabilities: for
	// sandboxes with a directory that other users of the host may reach.
	NoSetID bool
}

// Privileges say what root inside the sandbox is on the host.
type Privileges int

const (
	// Mapped is the user who runs the program, in a user namespace in which no
	// other user exists: changes of owner report success and do nothing.
	Mapped Privileges = iota
	// Identity is root, in a user namespace that maps every user to itself.
	Identity
	// Host is root without a user namespace, for kernels that have none to give.
	Host
)

// Limits are the most that programs inside may raise a limit of the kernel to,
// by its number (unix.RLIMIT_NOFILE, ...). What is not there is as for the program.
type Limits map[int]uint64

// Command describes a process to start.
type Command struct {
	Args     []string
	Env      []string // complete
	Dir      string   // "" = "/"
	User     string   // "name", "uid", "name:group" or "uid:gid"; "" = root
	Terminal *Size    // nil = the three files that come along
}

// Size is that of a terminal, in characters.
type Size struct{ Rows, Cols uint16 }
