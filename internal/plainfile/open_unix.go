//go:build unix

package plainfile

import "syscall"

// NonBlocking keeps an open from waiting for the other end of a named pipe.
const NonBlocking = syscall.O_NONBLOCK
