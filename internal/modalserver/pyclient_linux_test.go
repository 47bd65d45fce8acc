package modalserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// The Python clients that are known to work: the newest, and the one before
// version 2 sandboxes and with a file API, which the Python library was written for.
var pythonClients = []string{"1.6.4", "1.2.6"}

// testCache is a directory that outlives the test.
func testCache(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "seer-go-tests", name)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	return dir
}

// serveCached starts a server of real sandboxes whose images outlive the test:
// the first layer of a Python image takes half a minute.
func serveCached(t *testing.T, cfg Config) *Server {
	t.Helper()
	dir := testCache(t, "modalserver")
	run, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		t.Skipf("this machine cannot run sandboxes: %v", err)
	}
	cfg.Runtime, cfg.StateDir, cfg.ImageDir = run, t.TempDir(), filepath.Join(dir, "server")
	return serve(t, cfg)
}

// runPython runs a script of testdata/pyclient as a user of the Python client would.
func runPython(t *testing.T, server *Server, version, script string, args ...string) []byte {
	t.Helper()
	return runPythonWith(t, server, version, nil, script, args...)
}

func runPythonWith(t *testing.T, server *Server, version string, env []string, script string, args ...string) []byte {
	t.Helper()
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	require.NoError(t, os.WriteFile(certificate, server.Certificate(), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := osexec.CommandContext(ctx, venvtest.Python(t, "modal=="+version, "requests"), append([]string{filepath.Join("testdata", "pyclient", script)}, args...)...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"MODAL_CONFIG_PATH=" + filepath.Join(t.TempDir(), "none"),
		"MODAL_SERVER_URL=" + server.URL(), "MODAL_TOKEN_ID=ak-test", "MODAL_TOKEN_SECRET=as-test",
		"MODAL_TASK_COMMAND_ROUTER_INSECURE=1", // client 1.2.6 trusts nobody's own certificate there; newer ones do on loopback
		"REQUESTS_CA_BUNDLE=" + certificate,
	}, env...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	require.NoError(t, cmd.Run(), "%s", &complaints)
	return out.Bytes()
}

func TestRealPythonClientDrivesASandbox(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the Python client and its images are large")
	}
	local := t.TempDir()
	big := make([]byte, 6<<20) // from 4 MiB on, files travel as blobs
	_, err := rand.Read(big)
	require.NoError(t, err)
	sum := sha256.Sum256(big)
	for name, content := range map[string][]byte{
		"greeting.txt": []byte("hi\n"), "big.bin": big, "helper.py": []byte("ANSWER = 42\n"),
		"tree/a/one": []byte("1\n"), "tree/two": []byte("2\n"),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(local, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(local, name), content, 0o600))
	}
	for _, version := range pythonClients {
		t.Run(version, func(t *testing.T) {
			server := serveCached(t, Config{})
			var seen struct {
				Client, ID, Stdout, Workdir, Env, Build, Big, Scheme, Tunnel, Reconnected, Restored string

				ByName                     string `json:"by_name"`
				Tags                       map[string]string
				Poll                       *int
				Returncode                 int
				Tree, Ls, Listed, Left     []string
				File                       *string
				Relative                   string
				Echo, Fails, Helper, Stdin pythonProcess
				Volume                     pythonProcess
			}
			require.NoError(t, json.Unmarshal(runPython(t, server, version, "drive.py", local), &seen))
			assert.Equal(t, version, seen.Client)
			assert.Equal(t, map[string]string{"made-by": "python"}, seen.Tags)
			assert.Nil(t, seen.Poll)
			assert.Equal(t, "1\n", seen.Stdout)
			assert.Equal(t, pythonProcess{Out: "hello\n"}, seen.Echo)
			assert.Equal(t, pythonProcess{Out: "out\n", Err: "err\n", Code: 3}, seen.Fails)
			assert.Equal(t, pythonProcess{Out: "42\n"}, seen.Helper)
			assert.Equal(t, pythonProcess{Out: "typed\n"}, seen.Stdin)
			assert.Equal(t, pythonProcess{Out: "kept\n"}, seen.Volume)
			assert.Equal(t, "/tmp\n", seen.Workdir)
			assert.Equal(t, "env s3 i\n", seen.Env)
			assert.Equal(t, "built\nhi\n", seen.Build)
			assert.Equal(t, hex.EncodeToString(sum[:]), seen.Big)
			assert.ElementsMatch(t, []string{"/mounted/tree/a/one", "/mounted/tree/two"}, seen.Tree)
			assert.Equal(t, "https", seen.Scheme)
			assert.Equal(t, "through the tunnel\n", seen.Tunnel)
			assert.Equal(t, []string{seen.ID}, seen.Listed)
			assert.Equal(t, seen.ID, seen.ByName)
			assert.Equal(t, "built\n", seen.Reconnected)
			assert.Equal(t, 137, seen.Returncode)
			assert.Equal(t, "built\nkept\n", seen.Restored)
			assert.Empty(t, seen.Left)
			assert.Empty(t, server.Sandboxes())
			if seen.File != nil { // the client has a file API
				assert.Equal(t, "by the file API", *seen.File)
				assert.Equal(t, []string{"file"}, seen.Ls)
				assert.Equal(t, "relativefile and not found", seen.Relative)
			}
		})
	}
}

// pythonProcess is what a command left behind.
type pythonProcess struct {
	Out, Err string
	Code     int
}
