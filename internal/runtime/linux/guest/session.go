//go:build linux

package guest

import (
	"bytes"
	"os"
	"strconv"
)

// sessionMembers lists the living processes of a session.
func sessionMembers(session int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // ended
		}
		// "pid (name) state ppid pgrp session": the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
			continue
		}
		if s, err := strconv.Atoi(string(fields[3])); err == nil && s == session {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
