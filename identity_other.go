//go:build !linux

package seer

import "os"

// processStart cannot tell when a process began here, and so never says that
// one has ended: leases do.
func processStart(int) (start string, running bool) { return "", true }

func machineIdentity() string {
	host, _ := os.Hostname()
	return host
}
