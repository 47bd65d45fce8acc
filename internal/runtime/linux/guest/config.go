//go:build linux

package guest

// Config describes the sandbox that Start makes.
type Config struct {
	// Dir is the absolute path below which the relative paths of the other
	// fields lie. Mount tables inside the sandbox show the relative ones only.
	Dir string
	// Root is the first overlay, mounted at /; the others lie inside it.
	Root   Overlay
	Within []Overlay
	// Scratch is an empty directory to assemble the root on.
	Scratch string
	Binds   []Bind

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

// Overlay is one overlay mount.
type Overlay struct {
	Target      string   // absolute, in the sandbox
	Lower       []string // topmost first
	Upper, Work string
}

// Bind shows a directory of the host inside the sandbox.
type Bind struct {
	Source   string
	Target   string // absolute, in the sandbox
	ReadOnly bool
}

// Limits hold for each process where no cgroup holds for all of them.
type Limits struct {
	Processes int64 // of the whole sandbox, for an unprivileged user; 0 = no limit
	Data      int64 // bytes of private memory; 0 = no limit
}

// Command describes a process to start.
type Command struct {
	Args     []string
	Env      []string // complete
	Dir      string   // "" = "/"
	User     string   // "name", "uid", "name:group" or "uid:gid"; "" = root
	Terminal *Size    // nil = the three descriptors that come along
}

// Size is that of a terminal, in characters.
type Size struct{ Rows, Cols uint16 }
