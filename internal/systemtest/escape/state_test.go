//go:build linux

package escape_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// What a sandbox says of itself, and what it is believed. The agent edits it;
// the owner then does what `seer snapshot` and `seer restore` do.
var stateAttempts = []attempt{
	{name: "a secret of the owner is named", owner: func(t *testing.T, w *world) string {
		return w.believed(t, map[string]any{"secrets": []string{markerVariable}}, `env; cat /proc/*/environ`)
	}},
	{name: "a file of the owner is named", owner: func(t *testing.T, w *world) string {
		return w.believed(t, map[string]any{"local_files": []map[string]string{{"source": w.secret, "target": "/got"}}}, `cat /got`)
	}},
	{name: "a directory of the owner is named", owner: func(t *testing.T, w *world) string {
		return w.believed(t, map[string]any{"local_dirs": []map[string]string{{"source": w.dir, "target": "/got"}}}, `cat /got/*`)
	}},
	{name: "a network is named for a sandbox without one", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{BlockNetwork: true}, map[string]any{"block_network": false}, func(c seer.SandboxConfig) bool { return !c.BlockNetwork })
	}},
	{name: "more networks are named than are allowed", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{CIDRAllowlist: []string{"203.0.113.0/24"}}, map[string]any{"cidr_allowlist": nil}, func(c seer.SandboxConfig) bool { return len(c.CIDRAllowlist) != 1 })
	}},
	{name: "a longer life is named", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{Timeout: time.Minute, MaxLifetime: time.Minute}, map[string]any{"timeout": "20h", "max_lifetime": "0s"}, func(c seer.SandboxConfig) bool { return c.Timeout > time.Minute || c.MaxLifetime == 0 })
	}},
	{name: "larger hardware is named", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{MemoryMiB: 256}, map[string]any{"gpu": "H100", "gpu_count": 8, "memory_mib": 4096, "cpu": 64, "budget": 10000}, func(c seer.SandboxConfig) bool {
			return c.GPU != "" || c.MemoryMiB != 256 || c.CPU != 0 || c.Budget != 0
		})
	}},
	{name: "a port is named to be opened", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{}, map[string]any{"encrypted_ports": []int{22}, "debug": true}, func(c seer.SandboxConfig) bool { return len(c.EncryptedPorts) > 0 || c.Debug })
	}},
	{name: "commands and packages are named for the next image", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{}, map[string]any{"setup_commands": []string{"touch /made"}, "python_packages": []string{"evil"}, "docker_in_docker": true}, func(c seer.SandboxConfig) bool {
			return len(c.SetupCommands)+len(c.PythonPackages) > 0 || c.DockerInDocker
		})
	}},
	{name: "a repository with a helper program is named", owner: func(t *testing.T, w *world) string {
		return w.loosened(t, seer.SandboxConfig{}, map[string]any{"repos": []map[string]any{{"url": "ext::sh -c 'touch " + w.target + "'"}, {"url": "file://" + w.dir}}}, func(c seer.SandboxConfig) bool { return len(c.Repos) > 0 })
	}},
	{name: "a state that never ends to be read", owner: func(t *testing.T, w *world) string {
		return w.found(t, `rm -f /dev/shm/seer/state.json; mkfifo /dev/shm/seer/state.json; chmod 600 /dev/shm/seer/state.json`)
	}},
	{name: "a state that is a directory", owner: func(t *testing.T, w *world) string {
		return w.found(t, `rm -f /dev/shm/seer/state.json; mkdir /dev/shm/seer/state.json`)
	}},
	{name: "a state that is a link to the host's secret", owner: func(t *testing.T, w *world) string {
		return w.found(t, `for t in $(ls /proc/1/task); do ln -sfn /proc/1/task/$t/root`+w.secret+` /dev/shm/seer/state.json; done`)
	}},
	{name: "a state without a place", owner: func(t *testing.T, w *world) string {
		return w.found(t, `rm -rf /dev/shm/seer; touch /dev/shm/seer`)
	}},
	{name: "a state of the wrong kinds", owner: func(t *testing.T, w *world) string {
		return w.found(t, `echo '{"config": {"timeout": -1, "cpu": 1e300, "env": [], "models": [{}], "repos": [{"target": 1}]}, "models": [null], "repos": [{}]}' >/dev/shm/seer/state.json`)
	}},
}

// tamper has the agent edit the config in what its sandbox says of itself.
func (w *world) tamper(t *testing.T, sandbox *seer.Sandbox, config map[string]any) {
	t.Helper()
	text, err := json.Marshal(config)
	require.NoError(t, err)
	cmd := sandbox.Command("python", "-c", `
import glob, json, os, sys
for path in glob.glob("/dev/shm/seer/*") + glob.glob("/run/seer/*") + glob.glob("/var/lib/seer/*"):
    try:
        state = json.load(open(path))
        state.setdefault("config", {}).update(json.loads(sys.argv[1]))
        json.dump(state, open(path, "w"))
    except Exception as error: print(path, error)
if not os.path.exists("/dev/shm/seer/state.json"):
    os.makedirs("/dev/shm/seer", exist_ok=True)
    json.dump({"config": json.loads(sys.argv[1])}, open("/dev/shm/seer/state.json", "w"))
`, string(text))
	output, err := cmd.CombinedOutput(t.Context())
	require.NoError(t, err, "%s", output)
}

// again is what another command of the owner's does: it finds the sandbox and
// saves it.
func (w *world) again(t *testing.T, sandbox *seer.Sandbox) *seer.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	found, err := seer.FromID(ctx, sandbox.SandboxID(), seer.WithBackend(w.server.Backend()), seer.WithLease(-1))
	if err != nil {
		t.Log(err)
		return nil
	}
	defer func() { _ = found.Close() }()
	snapshot, err := found.Snapshot(ctx, "")
	if err != nil {
		t.Log(err)
		return nil
	}
	return snapshot
}

// believed restores what an edited state says, and looks for markers there.
func (w *world) believed(t *testing.T, config map[string]any, look string) string {
	t.Helper()
	sandbox := w.start(t, seer.SandboxConfig{})
	w.tamper(t, sandbox, config)
	snapshot := w.again(t, sandbox)
	if snapshot == nil {
		return ""
	}
	restored, err := seer.FromSnapshot(t.Context(), snapshot, snapshot.Config, seer.WithBackend(w.server.Backend()), seer.WithRefreshedFiles())
	if err != nil {
		t.Log(err)
		return ""
	}
	defer w.end(t, restored)
	text, _ := restored.Exec(t.Context(), look)
	if got := w.leaked(text); got != "" {
		return got + " is in the restored sandbox"
	}
	return ""
}

// loosened looks at what a snapshot says after the state was edited.
func (w *world) loosened(t *testing.T, config seer.SandboxConfig, edit map[string]any, loose func(seer.SandboxConfig) bool) string {
	t.Helper()
	sandbox := w.start(t, config)
	w.tamper(t, sandbox, edit)
	if snapshot := w.again(t, sandbox); snapshot != nil && loose(snapshot.Config) {
		text, _ := json.Marshal(snapshot.Config)
		return "the snapshot says: " + string(text)
	}
	return ""
}

// found looks for a sandbox that has spoiled what it says of itself. It may be
// found or not, but that takes no longer than it should.
func (w *world) found(t *testing.T, spoil string) string {
	t.Helper()
	sandbox := w.start(t, seer.SandboxConfig{})
	w.plant(t, sandbox, "mkdir -p /dev/shm/seer; "+spoil+"; true")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found, err := seer.FromID(ctx, sandbox.SandboxID(), seer.WithBackend(w.server.Backend()), seer.WithLease(-1))
	if ctx.Err() != nil {
		return "the sandbox is looked for without end"
	}
	if err != nil {
		return w.leaked(err.Error())
	}
	defer func() { _ = found.Close() }()
	return w.leaked(fmt.Sprint(found.ModelHandles(), found.RepoHandles()))
}

// leases are ways to outlive a program that is gone. They wait together.
var leases = map[string]string{
	"the lease is lifted":                `echo none >/dev/shm/seer/lease`,
	"the lease is long":                  `echo 99999999999 >/dev/shm/seer/lease`,
	"the lease is no number":             `echo x >/dev/shm/seer/lease`,
	"the lease is gone":                  `rm -rf /dev/shm/seer; touch /dev/shm/seer`,
	"the lease is never read to its end": `rm -f /dev/shm/seer/lease; mkfifo /dev/shm/seer/lease`,
	"the clock of the watcher stands":    `printf '#!/bin/sh\necho 1\n' >/opt/python/bin/date; chmod 755 /opt/python/bin/date; cp /opt/python/bin/date /bin/date; cp /opt/python/bin/date /usr/bin/date`,
	"the watcher sleeps for ever":        `printf '#!/bin/sh\nexec tail -f /dev/null\n' >/tmp/sleep; chmod 755 /tmp/sleep; rm -f /usr/bin/sleep /opt/python/bin/sleep; cp /tmp/sleep /usr/bin/sleep; cp /tmp/sleep /opt/python/bin/sleep`,
	"the watcher is stopped":             `for p in $(grep -lsa seer-watchdog /proc/[0-9]*/cmdline); do p=${p#/proc/}; p=${p%/*}; [ $p != $$ ] && kill -STOP $p; done; true`,
}

// leaseAttempts are those ways. The first waits for all of them.
func leaseAttempts() []attempt {
	var once sync.Once
	var alive map[string]bool
	all := []attempt{}
	for _, name := range slices.Sorted(maps.Keys(leases)) {
		all = append(all, attempt{name: name, owner: func(t *testing.T, w *world) string {
			once.Do(func() { alive = outlive(t, w) })
			if alive[name] {
				return "the sandbox outlives its lease"
			}
			return ""
		}})
	}
	return all
}

// outlive starts a program that is killed, tampers with the leases of its
// sandboxes, and says which are there long after.
func outlive(t *testing.T, w *world) map[string]bool {
	t.Helper()
	ids := forgotten(t, w, len(leases))
	alive := map[string]*seer.Sandbox{}
	for _, name := range slices.Sorted(maps.Keys(leases)) {
		sandbox, err := seer.FromID(t.Context(), ids[len(alive)], seer.WithBackend(w.server.Backend()), seer.WithLease(-1))
		require.NoError(t, err)
		w.t.Cleanup(func() { w.end(w.t, sandbox) })
		if _, err := sandbox.Exec(t.Context(), leases[name]); err != nil {
			t.Log(name, err)
		}
		alive[name] = sandbox
	}
	left := map[string]bool{}
	limit := time.Now().Add(leaseOfForgotten + 15*time.Second)
	for name, sandbox := range alive {
		select {
		case <-sandbox.Done():
		case <-time.After(time.Until(limit)):
			left[name] = true
		}
	}
	return left
}

const (
	leaseOfForgotten = 3 * time.Second
	// forgetVariable makes this test binary a program that starts sandboxes on
	// the server of that URL and waits to be killed.
	forgetVariable = "SEER_ESCAPE_FORGET"
)

func forget() {
	backend := seer.NewBackend("local", func(context.Context) (seer.Endpoint, error) {
		return seer.Endpoint{ServerURL: os.Getenv(forgetVariable), TokenID: "ak-x", TokenSecret: "as-x", PlainTunnels: true}, nil
	}, nil)
	for range leases {
		sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend), seer.WithLease(leaseOfForgotten)).Start(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(sandbox.SandboxID())
	}
	select {}
}

// forgotten returns the sandboxes of a program that was killed.
func forgotten(t *testing.T, w *world, count int) (ids []string) {
	t.Helper()
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), forgetVariable+"="+w.server.Endpoint().ServerURL)
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	for lines := bufio.NewScanner(stdout); len(ids) < count; {
		require.True(t, lines.Scan(), "the program ended")
		require.True(t, strings.HasPrefix(lines.Text(), "sb-"), lines.Text())
		ids = append(ids, lines.Text())
	}
	require.NoError(t, program.Process.Kill())
	_ = program.Wait() // killed
	return ids
}
