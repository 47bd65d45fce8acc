//go:build linux

package guest

import (
	"fmt"
	"reflect"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deafen makes this process deaf to what the sandbox's programs send it. The Go
// runtime has a handler for every signal, with which it would end and show its
// stacks. Without one the kernel keeps signals from inside away from the first
// process of a namespace, but not while its main thread blocks them, as the
// runtime does now and then: so they are ignored. Programs that start here get
// the defaults back, as with any handler of the runtime.
func deafen() error {
	const ignored, last = 1, 64
	ignore := signalAction{handler: ignored}
	var idle signalAction // as the runtime's, on the stack for signals
	if err := setSignalHandler(unix.SIGCHLD, nil, &idle); err != nil {
		return err
	}
	idle.handler = reflect.ValueOf(returnAtOnce).Pointer()
	for signal := unix.Signal(1); signal <= last; signal++ {
		action := ignore
		switch signal {
		case unix.SIGKILL, unix.SIGSTOP: // the kernel's
			continue
		case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT: // no end by default, blocked or not
			continue
		case unix.SIGURG, unix.SIGCHLD: // its handlers do no harm; ignored, the latter would reap
			continue
		case 32, 33, 34: // the runtime would not give programs the default back, but has no handler either
			action = idle
		}
		if err := setSignalHandler(signal, &action, nil); err != nil {
			return err
		}
	}
	return nil
}

// signalAction is the kernel's, on every architecture.
type signalAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// returnAtOnce is a handler of signals: the kernel calls it, with no regard to
// what Go demands of a stack, and an instruction to return is all that it is.
//
//go:nosplit
//go:norace
func returnAtOnce() {}

func setSignalHandler(signal unix.Signal, action, old *signalAction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal),
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(action.mask), 0, 0)
	if errno != 0 {
		return fmt.Errorf("set handler of signal %d: %w", signal, errno)
	}
	return nil
}
