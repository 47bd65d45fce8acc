package seer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The tags that every sandbox gets beside its config's own.
const (
	tagPrefix  = "seer."
	tagOwner   = tagPrefix + "owner"   // USER-at-HOST
	tagProgram = tagPrefix + "program" // NAME.MACHINE.PID.START
	tagConfig  = tagPrefix + "config"  // hash of the config
	tagCreated = tagPrefix + "created" // Unix seconds
	tagLease   = tagPrefix + "lease"   // seconds, noLease or leaseDetached

	leaseDetached = "detached" // the program has let go of the sandbox

	maxTagLength = 63
)

// fleetTags are the tags of a sandbox that this program makes now.
func fleetTags(config SandboxConfig, lease time.Duration) map[string]string {
	tags := make(map[string]string, len(config.Tags)+5)
	maps.Copy(tags, config.Tags)
	tags[tagOwner] = currentOwner()
	tags[tagProgram] = thisProgram().String()
	tags[tagConfig] = config.hash()
	tags[tagCreated] = strconv.FormatInt(time.Now().Unix(), 10)
	tags[tagLease] = leaseValue(lease)
	return tags
}

// hash tells configs apart. It is no secret and hides none: do not put one into Env.
func (c SandboxConfig) hash() string {
	text, err := json.Marshal(c)
	if err != nil {
		return "unknown" // validate refuses what cannot be marshalled
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// currentOwner is who runs this program, as a tag.
var currentOwner = sync.OnceValue(func() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return tagValue(name + "-at-" + host)
})

// tagValue makes a tag of a text: what tags cannot hold becomes a dash.
func tagValue(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '-'
	}, text)
	return text[:min(len(text), maxTagLength)]
}

// program is a running program, told from all others of all machines, those
// with the same process ID before and after it included.
type program struct {
	name    string
	machine string // hash of what tells machines, and containers on them, apart
	pid     int
	start   string // when it began, as the machine counts; "" = unknown
}

var thisProgram = sync.OnceValue(func() program {
	name := "program"
	if path, err := os.Executable(); err == nil {
		name = filepath.Base(path)
	}
	pid := os.Getpid()
	start, _ := processStart(pid)
	return program{name: name, machine: thisMachine(), pid: pid, start: start}
})

var thisMachine = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(machineIdentity()))
	return hex.EncodeToString(sum[:6])
})

func (p program) String() string {
	suffix := fmt.Sprintf(".%s.%d.%s", p.machine, p.pid, p.start)
	name := tagValue(p.name)
	return name[:min(len(name), maxTagLength-len(suffix))] + suffix
}

// parseProgram reads what String writes.
func parseProgram(text string) (program, bool) {
	parts := strings.Split(text, ".")
	if len(parts) < 4 {
		return program{}, false
	}
	last := parts[len(parts)-3:]
	pid, err := strconv.Atoi(last[1])
	if err != nil || pid <= 0 {
		return program{}, false
	}
	name := strings.Join(parts[:len(parts)-3], ".")
	return program{name: name, machine: last[0], pid: pid, start: last[2]}, true
}

// gone reports whether the program has certainly ended. Of another machine's
// nothing is certain.
func (p program) gone() bool {
	if p.machine != thisMachine() {
		return false
	}
	start, running := processStart(p.pid)
	return !running || p.start != "" && start != "" && start != p.start
}
