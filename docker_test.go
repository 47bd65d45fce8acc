package seer_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// asModal is a played server under the name of the backend that has Docker.
func asModal(server *seertest.Server) seer.Option {
	return seer.WithBackend(seer.NewBackend("modal", func(context.Context) (seer.Endpoint, error) {
		return server.Endpoint(), nil
	}, nil))
}

func TestWireOfServices(t *testing.T) {
	for name, config := range map[string]seer.SandboxConfig{
		"docker": {DockerInDocker: true},
		"dockerfile": {Repos: []seer.RepoConfig{{
			URL: "https://example.com/Org/A_--Repo.x", Dockerfile: "docker/$(id) file", Install: "make",
		}}},
		"debug": {Debug: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := seertest.NewServer(t, seertest.WithoutLeases())
			server.HandleExec(func(e seertest.Exec) seertest.Result {
				if e.Args[0] == "python" {
					_, _ = io.WriteString(e.Stdout, `{"secret": "s3crets3crets3crets3cret"}`)
				}
				return seertest.Result{}
			})
			startOn(t, server, config, asModal(server))
			wire := wireOf(t, server.Calls())
			wire["TaskExecStart"] = inOrder(wire["TaskExecStart"])
			golden(t, filepath.Join("testdata", "wire", name+".txtar"), wire)
		})
	}
}

func TestARestoredSandboxHasItsContainers(t *testing.T) {
	server := seertest.NewServer(t)
	var mu sync.Mutex
	ran := map[string]int{}
	server.HandleExec(func(e seertest.Exec) seertest.Result {
		if e.Args[0] == "bash" {
			mu.Lock()
			defer mu.Unlock()
			ran[e.Args[3]]++
		}
		return seertest.Result{}
	})
	config := seer.SandboxConfig{Repos: []seer.RepoConfig{{URL: "org/repo", Dockerfile: "Dockerfile"}}}
	first := startOn(t, server, config, asModal(server))
	snapshot, err := first.Snapshot(t.Context(), "with a container")
	require.NoError(t, err)
	again, err := seer.FromSnapshot(t.Context(), snapshot, config, asModal(server))
	require.NoError(t, err)
	terminate(t, again)
	assert.Equal(t, map[string]int{"clone": 1, "dockerd": 2, "container": 2}, ran)
}

// inOrder sorts requests of steps that run side by side.
func inOrder(requests string) string {
	const end = "\n}\n"
	list := strings.SplitAfter(requests, end)
	slices.Sort(list)
	return strings.Join(list, "")
}

// docker writes down what it is asked for, one argument a line. The daemon
// answers once dockerd has run.
const (
	fakeDocker = `#!/bin/sh
case $1 in
version) [ -f "$STATE/daemon" ];;
container) [ -f "$STATE/there" ];;
inspect) cat "$STATE/status";;
wait) cat "$STATE/exit";;
logs) echo "said before its end";;
*) printf '%s\n' "$@" >>"$STATE/asked";;
esac
`
	fakeDockerd = "#!/bin/sh\n: >\"$STATE/daemon\"\nexec sleep 1\n"
	deadDockerd = "#!/bin/sh\necho no space left\nexit 3\n"
)

// dockerScript runs a script of the SDK with programs that play Docker.
func dockerScript(t *testing.T, script, dockerd string, state map[string]string, args ...string) (dir string, out []byte, err error) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash on this machine: ", err)
	}
	dir = t.TempDir()
	for name, content := range map[string]string{"docker": fakeDocker, "dockerd": dockerd} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
	for name, content := range state {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	text, err := os.ReadFile(filepath.Join("scripts", script))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", string(text), script}, args...)...)
	cmd.Env = append(os.Environ(), "STATE="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	out, err = cmd.CombinedOutput()
	return dir, out, err
}

func TestDockerdScript(t *testing.T) {
	_, out, err := dockerScript(t, "dockerd.sh", fakeDockerd, nil, filepath.Join(t.TempDir(), "home"))
	require.NoError(t, err, "%s", out)

	_, out, err = dockerScript(t, "dockerd.sh", deadDockerd, nil, filepath.Join(t.TempDir(), "home"))
	require.Error(t, err)
	assert.Contains(t, string(out), "no space left")
}

func TestContainerScript(t *testing.T) {
	for name, test := range map[string]struct {
		state    map[string]string
		fails    string
		restored bool
	}{
		"runs":              {state: map[string]string{"status": "running 0\n"}},
		"of a snapshot":     {state: map[string]string{"status": "running 0\n", "there": ""}, restored: true},
		"has ended well":    {state: map[string]string{"status": "exited 0\n", "exit": "0\n"}},
		"has ended at once": {state: map[string]string{"status": "exited 7\n", "exit": "7\n"}, fails: "said before its end"},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := "/work dir/$(id)"
			dir, out, err := dockerScript(t, "container.sh", fakeDockerd, test.state, hostile, "sub/it's a file", "seer-1-x")
			if test.fails != "" {
				require.Error(t, err)
				assert.Contains(t, string(out), test.fails)
				return
			}
			require.NoError(t, err, "%s", out)
			asked, err := os.ReadFile(filepath.Join(dir, "asked"))
			require.NoError(t, err)
			if test.restored {
				assert.Equal(t, "start\n--\nseer-1-x\n", string(asked))
				return
			}
			assert.Equal(t, "build\n--file\n"+hostile+"/sub/it's a file\n--tag\nseer-1-x\n--\n"+hostile+
				"\nrun\n--detach\n--name\nseer-1-x\n--network\nhost\n--volume\n"+hostile+":"+hostile+"\n--\nseer-1-x\n", string(asked))
		})
	}
}
