package seer

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// processStart is when a process began, in ticks since the machine did; "" if
// it runs and does not tell.
func processStart(pid int) (start string, running bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		// Another user's process may be hidden there, but not from a signal.
		return "", !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	// The name, in parentheses, may hold anything; the fields after it do not.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, began = 0, 19
	if len(fields) <= began || fields[state] == "Z" {
		return "", false
	}
	return fields[began], true
}

// machineIdentity tells machines apart, their containers and their boots too:
// process IDs mean nothing outside.
func machineIdentity() string {
	id, _ := os.ReadFile("/etc/machine-id")
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	pids, _ := os.Readlink("/proc/self/ns/pid")
	host, _ := os.Hostname()
	return strings.Join([]string{string(id), string(boot), pids, host}, "\n")
}
