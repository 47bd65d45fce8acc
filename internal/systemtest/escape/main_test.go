//go:build linux

package escape_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getpid() != 1 && os.Getenv(programVariable) != "" {
		ownSandboxes()
		return
	}
	if os.Getpid() != 1 && os.Getenv(forgetVariable) != "" {
		forget()
		return
	}
	if len(os.Args) > 2 && os.Args[2] == "-c" { // what an agent makes of this program: it waits to be looked at
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	goleak.VerifyTestMain(m)
}

// kernel is what a machine has for walls.
type kernel struct {
	root           bool
	userNamespaces bool
	cgroups        int // 0, 1 or 2: the version that this user may limit a sandbox with
	landlock       int // its ABI; 0 = none
	seccomp        bool
	idmap          bool // mounts with shifted ids
}

// probe finds out what the machine has, by doing.
func probe() kernel {
	k := kernel{root: os.Geteuid() == 0}
	_, err := os.Stat("/proc/self/ns/user")
	most, readErr := os.ReadFile("/proc/sys/user/max_user_namespaces")
	k.userNamespaces = err == nil && (readErr != nil || strings.TrimSpace(string(most)) != "0")
	switch {
	case unix.Access("/sys/fs/cgroup/cgroup.subtree_control", unix.W_OK) == nil:
		k.cgroups = 2
	case unix.Access("/sys/fs/cgroup/pids/tasks", unix.W_OK) == nil:
		k.cgroups = 1
	}
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno == 0 {
		k.landlock = int(abi)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)
	k.seccomp = errors.Is(errno, syscall.EFAULT)
	err = unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP})
	k.idmap = !errors.Is(err, unix.ENOSYS)
	return k
}

func (k kernel) String() string {
	return fmt.Sprintf("kernel for walls: root %v, user namespaces %v, control groups version %d, Landlock ABI %d, seccomp %v, idmapped mounts %v",
		k.root, k.userNamespaces, k.cgroups, k.landlock, k.seccomp, k.idmap)
}

func families() []family {
	return []family{
		{name: "paths", attempts: pathAttempts},
		{name: "restores", attempts: restoreAttempts},
		{name: "proc", attempts: procAttempts},
		{name: "namespaces", attempts: namespaceAttempts},
		{name: "mounts", attempts: mountAttempts},
		{name: "devices", attempts: deviceAttempts},
		{name: "privileges", attempts: privilegeAttempts},
		{name: "calls", attempts: callAttempts},
		{name: "network", attempts: networkAttempts()},
		{name: "state", attempts: stateAttempts},
		{name: "leases", attempts: leaseAttempts()},
		{name: "protocol", attempts: protocolAttempts()},
		{name: "transfers", attempts: transferAttempts},
		{name: "services", attempts: serviceAttempts},
		{name: "models", attempts: modelAttempts},
		{name: "credentials", attempts: credentialAttempts},
		{name: "signals", attempts: signalAttempts()},
		{name: "terminals", attempts: terminalAttempts},
		{name: "resources", attempts: resourceAttempts(), alone: true},
	}
}

// TestNoWayOut makes every attempt. Those of a family share sandboxes.
func TestNoWayOut(t *testing.T) {
	k := probe()
	fmt.Println(k)
	h := newHost(t)
	t.Run("side by side", func(t *testing.T) {
		for _, f := range families() {
			if !f.alone {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel() // most of an attempt's time is waiting
					f.try(t, h, k)
				})
			}
		}
	})
	for _, f := range families() {
		if f.alone {
			t.Run(f.name, func(t *testing.T) { f.try(t, h, k) })
		}
	}
	assert.Empty(t, h.alive(t.Context(), h.neighbour))
}

// try makes every attempt of a family, from one sandbox where that will do.
func (f family) try(t *testing.T, h *host, k kernel) {
	w := h.enter(t)
	for _, a := range f.attempts {
		if a.needs != nil && !a.needs(k) {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			if got := a.run(t, w); got != "" {
				t.Errorf("a way out: %s", got)
			}
		})
	}
}

// TestAttemptsAreMany counts them, and sees that none has the name of another.
func TestAttemptsAreMany(t *testing.T) {
	names := map[string]bool{}
	for _, f := range families() {
		for _, a := range f.attempts {
			assert.False(t, names[a.name], "%s is there twice", a.name)
			names[a.name] = true
		}
	}
	assert.GreaterOrEqual(t, len(names), 120, "attempts")
	fmt.Printf("ways out that are tried: %d in %d families\n", len(names), len(families()))
}
