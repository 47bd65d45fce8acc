//go:build !unix

package seer

import "os"

// openNonBlocking has no meaning here: there are no named pipes among files.
const openNonBlocking = 0

func endSignal(*os.ProcessState) int { return 0 }
