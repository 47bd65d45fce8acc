//go:build linux

package linux

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

const (
	mostProcesses     = 4096
	freezerController = "freezer"
	period            = 100_000 // microseconds, over which CPU time is shared out
)

// cgroups says where this machine lets the program make control groups.
type cgroups struct {
	unified bool              // version 2
	parents map[string]string // directory by controller
}

// findCgroups finds the controllers that this process may use. It returns one
// without parents where there are none.
func findCgroups() *cgroups {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return &cgroups{}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &cgroups{}
	}
	c := &cgroups{parents: map[string]string{}}
	for line := range strings.Lines(string(own)) {
		// "id:controllers:path"
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 {
			continue
		}
		if fields[1] == "" {
			c.useUnified(mounts, fields[2])
			if c.unified {
				return c
			}
		}
		for _, controller := range strings.Split(fields[1], ",") {
			c.useOld(mounts, controller, fields[2])
		}
	}
	return c
}

// useUnified looks for the nearest group, from our own upwards, below which
// groups with every controller can be made.
func (c *cgroups) useUnified(mounts []byte, own string) {
	at, ok := mountPoint(mounts, "cgroup2", "")
	if !ok {
		return
	}
	for path := filepath.Join(at, own); ; path = filepath.Dir(path) {
		enabled, err := os.ReadFile(filepath.Join(path, "cgroup.subtree_control"))
		if err == nil && syscall.Access(path, 2) == nil {
			if !hasControllers(enabled) {
				_ = os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0)
				enabled, _ = os.ReadFile(filepath.Join(path, "cgroup.subtree_control"))
			}
			if hasControllers(enabled) {
				c.unified = true
				c.parents = map[string]string{"": path}
				return
			}
		}
		if path == at || len(path) < len(at) {
			return
		}
	}
}

func hasControllers(enabled []byte) bool {
	found := 0
	for _, name := range bytes.Fields(enabled) {
		switch string(name) {
		case "cpu", "memory", "pids":
			found++
		}
	}
	return found == 3
}

func (c *cgroups) useOld(mounts []byte, controller, own string) {
	switch controller {
	case "cpu", "memory", "pids", freezerController:
	default:
		return
	}
	at, ok := mountPoint(mounts, "cgroup", controller)
	if !ok {
		return
	}
	if path := filepath.Join(at, own); syscall.Access(path, 2) == nil {
		c.parents[controller] = path
	}
}

// mountPoint finds a file system by its kind and an option of it.
func mountPoint(mounts []byte, kind, option string) (string, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(mounts)); lines.Scan(); {
		// "id parent dev root mountpoint options - kind source options"
		left, right, ok := strings.Cut(lines.Text(), " - ")
		place, fields := strings.Fields(left), strings.Fields(right)
		if !ok || len(place) < 5 || len(fields) < 3 || fields[0] != kind {
			continue
		}
		if option == "" || strings.Contains(","+fields[2]+",", ","+option+",") {
			return place[4], true
		}
	}
	return "", false
}

const groupPrefix = "seer-"

// dirs says where a sandbox's group is, by controller. The name tells which
// program it belongs to.
func (c *cgroups) dirs(id string) map[string]string {
	dirs := map[string]string{}
	for controller, parent := range c.parents {
		dirs[controller] = filepath.Join(parent, groupPrefix+strconv.Itoa(os.Getpid())+"-"+id)
	}
	return dirs
}

// sweep removes the groups that programs left which were killed.
func (c *cgroups) sweep() error {
	var errs []error
	for controller, parent := range c.parents {
		left, err := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
		errs = append(errs, err)
		for _, dir := range left {
			owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
			if pid, err := strconv.Atoi(owner); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				if controller == freezerController {
					_ = freezerIn(dir).set("THAWED") // or what was killed while it was frozen never dies
				}
				errs = append(errs, removeGroup(dir))
			}
		}
	}
	return errors.Join(errs...)
}

// cgroup holds the processes of one sandbox. A nil one holds nothing.
type cgroup struct {
	unified bool
	dirs    map[string]string // by controller; "" = all

	mu   sync.Mutex
	over bool // it is frozen no more
}

// make makes a sandbox's group. The warnings say what it cannot promise.
func (c *cgroups) make(id string, cpu float64, memoryMB int64) (*cgroup, []string) {
	if len(c.parents) == 0 {
		return nil, c.unlimited(nil, cpu, memoryMB)
	}
	g := &cgroup{unified: c.unified, dirs: map[string]string{}}
	for controller, dir := range c.dirs(id) {
		if controller == "cpu" && cpu == 0 || controller == "memory" && memoryMB == 0 {
			continue // each costs the start of a sandbox some time
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, c.unlimited(errors.Join(err, g.remove()), cpu, memoryMB)
		}
		g.dirs[controller] = dir
	}
	if err := g.limit(cpu, memoryMB); err != nil {
		return nil, c.unlimited(errors.Join(err, g.remove()), cpu, memoryMB)
	}
	return g, nil
}

func (c *cgroups) unlimited(err error, cpu float64, memoryMB int64) []string {
	reason := "no writable control group"
	if err != nil {
		reason = err.Error()
	}
	var warnings []string
	if os.Geteuid() == 0 { // whom the kernel's limit for a user does not hold
		warnings = append(warnings, "the number of processes is not limited on this machine: "+reason)
	}
	if cpu > 0 {
		warnings = append(warnings, fmt.Sprintf("the limit of %g CPU cores is not enforced on this machine: %s", cpu, reason))
	}
	if memoryMB > 0 {
		warnings = append(warnings, fmt.Sprintf("the limit of %d MiB of memory holds for each process, not for the sandbox: %s", memoryMB, reason))
	}
	return warnings
}

func (g *cgroup) limit(cpu float64, memoryMB int64) error {
	type setting struct{ controller, file, value string }
	settings := []setting{{"pids", "pids.max", strconv.Itoa(mostProcesses)}}
	share := strconv.FormatInt(int64(cpu*period), 10)
	memory := strconv.FormatInt(memoryMB<<20, 10)
	if cpu > 0 && g.unified {
		settings = append(settings, setting{"", "cpu.max", share + " " + strconv.Itoa(period)})
	} else if cpu > 0 {
		settings = append(settings, setting{"cpu", "cpu.cfs_period_us", strconv.Itoa(period)}, setting{"cpu", "cpu.cfs_quota_us", share})
	}
	if memoryMB > 0 && g.unified {
		settings = append(settings, setting{"", "memory.max", memory}, setting{"", "memory.swap.max", "0"})
	} else if memoryMB > 0 {
		settings = append(settings, setting{"memory", "memory.limit_in_bytes", memory})
	}
	for _, s := range settings {
		if g.unified {
			s.controller = ""
		}
		dir, ok := g.dirs[s.controller]
		if !ok {
			return fmt.Errorf("no writable control group for %s", s.file)
		}
		err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0)
		if err != nil && s.file != "memory.swap.max" { // a kernel without swap has none
			return err
		}
	}
	return nil
}

// enter opens what the sandbox's programs enter the group by. The caller
// closes it.
func (g *cgroup) enter() (group guest.Group, err error) {
	switch {
	case g == nil:
	case g.unified:
		group.Unified, err = os.Open(g.dirs[""])
	default:
		for _, dir := range g.dirs {
			f, openErr := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
			if openErr != nil {
				group.Close()
				return guest.Group{}, openErr
			}
			group.Tasks = append(group.Tasks, f)
		}
	}
	return group, err
}

// outOfMemory counts the processes that were killed for the memory limit.
func (g *cgroup) outOfMemory() uint64 {
	if g == nil {
		return 0
	}
	path, file := g.dirs["memory"], "memory.oom_control"
	if g.unified {
		path, file = g.dirs[""], "memory.events"
	}
	if path == "" {
		return 0 // no limit
	}
	b, err := os.ReadFile(filepath.Join(path, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(count), 10, 64)
			return n
		}
	}
	return 0
}

// remove deletes the group, whose processes have ended.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, dir := range g.dirs {
		errs = append(errs, removeGroup(dir))
	}
	return errors.Join(errs...)
}

// removeGroup deletes a group and those below it, whoever made them.
func removeGroup(dir string) error {
	err := removeGroups(dir)
	// The kernel may take a moment to see the last process off, and on a busy
	// machine more than a second.
	for wait := time.Millisecond; errors.Is(err, syscall.EBUSY) && wait < 3*time.Second; wait += wait/4 + time.Millisecond {
		time.Sleep(wait)
		err = removeGroups(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func removeGroups(dir string) error {
	err := os.Remove(dir)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	below, readErr := os.ReadDir(dir)
	if readErr != nil {
		return readErr
	}
	for _, e := range below {
		if !e.IsDir() {
			continue
		}
		if err := removeGroups(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Remove(dir)
}
