//go:build linux

package soak_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// usage is what is held at one moment, by the test's own process, by the
// process of the server (the same one, if it is embedded) and on the machine.
type usage struct {
	goroutines  int // of the test's process
	descriptors int // of both
	heap        int // bytes in use in the test's process, after collecting garbage
	resident    int // bytes of the server's process, where it is another one
	processes   int // below both
	mounts      int // in the machine's own mount namespace
	groups      int // control groups of sandboxes
	files       int // in the state directory, kept images left out, and in the temporary one
}

// subject says where to look.
type subject struct {
	server int    // process
	state  string // directory of layers, volumes and snapshots
	temp   string
}

func (s subject) measure(t *testing.T) usage {
	t.Helper()
	for range 3 { // finalizers, and what they release
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	u := usage{
		goroutines:  runtime.NumGoroutine(),
		descriptors: descriptors(t, os.Getpid()),
		heap:        int(stats.HeapInuse),
		processes:   len(below(t, os.Getpid(), s.server)),
		mounts:      lines(t, "/proc/self/mountinfo"),
		groups:      groups(s.server),
		files:       files(t, s.state) + files(t, s.temp),
	}
	if s.server != os.Getpid() {
		u.descriptors += descriptors(t, s.server)
		u.resident = resident(t, s.server)
	}
	return u
}

// settled measures until nothing shrinks any more: what ends beside the calls,
// such as a connection that is given up, needs its moment.
func (s subject) settled(t *testing.T) usage {
	t.Helper()
	last := s.measure(t)
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		time.Sleep(300 * time.Millisecond)
		now := s.measure(t)
		if !now.below(last) {
			return now
		}
		last = now
	}
	return last
}

// below reports whether something of u is clearly less than before.
func (u usage) below(before usage) bool {
	return u.goroutines < before.goroutines || u.descriptors < before.descriptors || u.processes < before.processes ||
		u.mounts < before.mounts || u.groups < before.groups || u.files < before.files || u.heap < before.heap-before.heap/10
}

// growth lists what grew from one moment to a later one by more than what does
// not depend on how often something was done.
func (u usage) growth(later usage) []string {
	const slack = 8                           // descriptors and goroutines of pools, say, which have a lid
	const heap, resident = 24 << 20, 64 << 20 // the collector's own way of breathing
	var out []string
	for _, row := range []struct {
		name          string
		before, after int
		slack         int
	}{
		{"goroutines", u.goroutines, later.goroutines, slack},
		{"descriptors", u.descriptors, later.descriptors, slack},
		{"bytes of the heap", u.heap, later.heap, heap},
		{"bytes of the server", u.resident, later.resident, resident},
		{"processes", u.processes, later.processes, 0},
		{"mounts", u.mounts, later.mounts, 0},
		{"control groups", u.groups, later.groups, 0},
		{"files", u.files, later.files, slack},
	} {
		if row.after > row.before+row.slack {
			out = append(out, fmt.Sprintf("%s: %d, then %d", row.name, row.before, row.after))
		}
	}
	return out
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	require.NoError(t, err)
	return len(entries)
}

// below are the living processes that some processes started, and those that these did.
func below(t *testing.T, roots ...int) map[int]bool {
	t.Helper()
	parents := map[int]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		parents[pid], err = strconv.Atoi(fields[1])
		require.NoError(t, err)
	}
	found := map[int]bool{}
	for pid := range parents {
		for parent := parents[pid]; parent > 1; parent = parents[parent] {
			for _, root := range roots {
				if parent == root {
					found[pid] = true
				}
			}
		}
	}
	return found
}

func lines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return bytes.Count(data, []byte("\n"))
}

// groups are those of a process's sandboxes: their names begin with its number.
func groups(server int) int {
	prefix, n := fmt.Sprintf("seer-%d-", server), 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(_ string, entry fs.DirEntry, err error) error { // groups come and go
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), prefix) {
			n++
		}
		return nil
	})
	return n
}

func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { // files come and go
		switch {
		case err != nil:
		case entry.IsDir() && path != dir && isKept(entry.Name()):
			return fs.SkipDir
		default:
			n++
		}
		return nil
	})
	return n
}

// isKept reports whether a directory is one of those that keep images.
func isKept(name string) bool { return name == "layers" || name == "images" || name == "bases" }

func resident(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	require.NoError(t, err)
	fields := strings.Fields(string(data))
	require.Greater(t, len(fields), 1)
	pages, err := strconv.Atoi(fields[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}
