//go:build linux

package guest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Users whom nobody has: systems give out numbers far below.
const (
	firstOwner = 0x6f000000
	mostOwners = 1 << 24
)

// asNobody runs f, which begins a process in a user namespace of its own, as a
// user whom nobody else is. The kernel charges the file watches and the like of
// a user namespace to who made it: else those of every sandbox would be charged
// to the host's root, whatever users the programs inside become.
func asNobody(f func() (*os.Process, error)) (p *os.Process, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		dumpable := wasDumpable()
		if err = becomeNobody(); err == nil {
			p, err = f()
		}
		// A thread that cannot go back is not used again.
		if becomeRoot() == nil {
			runtime.UnlockOSThread()
		}
		if dumpable { // a change of user ends that for the whole program
			_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		}
	}()
	<-done
	return p, err
}

// wasDumpable is whether this program was before it changed any thread's user.
var wasDumpable = sync.OnceValue(func() bool {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && dumpable == 1
})

// becomeNobody changes the effective user of this thread alone, which keeps
// its rights.
func becomeNobody() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	owner := firstOwner + rand.IntN(mostOwners)
	if err := setEffectiveUser(owner); err != nil {
		return err
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return errors.Join(fmt.Errorf("set capabilities: %w", err), becomeRoot())
	}
	return nil
}

func becomeRoot() error { return setEffectiveUser(0) }

func setEffectiveUser(user int) error {
	keep := ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(user), keep); errno != 0 {
		return fmt.Errorf("become user %d: %w", user, errno)
	}
	return nil
}
