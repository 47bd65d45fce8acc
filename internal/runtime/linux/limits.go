//go:build linux

package linux

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

const (
	userShare       = 4 // part of what the kernel gives a user that one sandbox may take
	mostDescriptors = 1 << 16
)

// processLimits are the kernel's limits for programs inside. Some count what
// all processes of the host's user have, in other sandboxes and in this program
// too. Descriptors on their way between processes are such a number, and
// whoever sends one is refused by a limit of its own: as long as this program's
// and the first processes' are higher, they go on.
func processLimits(memoryMB int64, grouped bool) (guest.Limits, error) {
	limits := guest.Limits{unix.RLIMIT_NOFILE: mostDescriptors}
	for _, resource := range []int{unix.RLIMIT_NOFILE, unix.RLIMIT_SIGPENDING, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_MEMLOCK} {
		var own unix.Rlimit
		if err := unix.Getrlimit(resource, &own); err != nil {
			return nil, fmt.Errorf("read limit %d of processes: %w", resource, err)
		}
		if own.Cur == unix.RLIM_INFINITY {
			continue
		}
		limits[resource] = own.Cur / userShare
	}
	limits[unix.RLIMIT_NOFILE] = min(limits[unix.RLIMIT_NOFILE], mostDescriptors)
	if grouped {
		return limits, nil
	}
	limits[unix.RLIMIT_NPROC] = mostProcesses
	if memoryMB > 0 {
		limits[unix.RLIMIT_DATA] = uint64(memoryMB) << 20
	}
	return limits, nil
}
