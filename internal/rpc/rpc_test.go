//go:build unix

package rpc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type interpreter struct{ version, path string }

// interpreters finds one Python of each version from 3.9 on, oldest first: on
// PATH, in the usual folders, and in pyenv's.
var interpreters = sync.OnceValue(func() []interpreter {
	var candidates []string
	home, _ := os.UserHomeDir()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin", "/usr/local/bin") {
		found, _ := filepath.Glob(filepath.Join(dir, "python3*"))
		candidates = append(candidates, found...)
	}
	installed, _ := filepath.Glob(filepath.Join(home, ".pyenv", "versions", "*", "bin", "python"))
	byVersion := map[string]interpreter{}
	for _, path := range append(candidates, installed...) {
		base := filepath.Base(path)
		if !regexp.MustCompile(`^python(3(\.\d+)?)?$`).MatchString(base) {
			continue
		}
		out, err := exec.Command(path, "-c", "import sys, venv, ssl; print('%d.%02d' % sys.version_info[:2])").Output()
		version := strings.TrimSpace(string(out))
		if _, known := byVersion[version]; err == nil && !known && version >= "3.09" {
			byVersion[version] = interpreter{version, path}
		}
	}
	var all []interpreter
	for _, python := range byVersion {
		all = append(all, python)
		fmt.Fprintf(os.Stderr, "interpreter: Python %s at %s\n", python.version, python.path)
	}
	slices.SortFunc(all, func(a, b interpreter) int { return strings.Compare(a.version, b.version) })
	return all
})

// newest returns the interpreter for tests that need only one.
func newest(t testing.TB) interpreter {
	t.Helper()
	all := interpreters()
	require.NotEmpty(t, all, "no Python 3.9 or newer was found")
	return all[len(all)-1]
}

// eachInterpreter runs a test with the oldest, the middle and the newest one.
func eachInterpreter(t *testing.T, test func(t *testing.T, python interpreter)) {
	all := interpreters()
	require.NotEmpty(t, all, "no Python 3.9 or newer was found")
	for i, python := range all {
		if i == 0 || i == len(all)/2 || i == len(all)-1 {
			t.Run(python.version, func(t *testing.T) { test(t, python) })
		}
	}
}

const controlToken = "control-token-of-the-tests"

// startServer runs the server and stops it, workers included, with the test.
func startServer(t testing.TB, python string) *rpc.Server {
	t.Helper()
	server, _ := startServerProcess(t, python)
	return server
}

func startServerProcess(t testing.TB, python string) (*rpc.Server, *exec.Cmd) {
	t.Helper()
	dir := t.TempDir()
	files, err := rpc.Files()
	require.NoError(t, err)
	for path, data := range files {
		writeFile(t, filepath.Join(dir, filepath.FromSlash(path)), string(data))
	}
	cmd := exec.Command(python, dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	// A fuzzing worker has the pipes to its coordinator here, which waits for
	// their end: they are not the server's.
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return // the test ended it
		}
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		require.NoError(t, cmd.Wait(), "SIGTERM did not end the server")
	})
	line, err := rpc.Settings{Token: controlToken, Host: "127.0.0.1"}.Line()
	require.NoError(t, err)
	_, err = stdin.Write(line)
	require.NoError(t, err)
	ready, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	port, err := rpc.ParseReady(ready)
	require.NoError(t, err)
	return rpc.NewServer(fmt.Sprintf("http://127.0.0.1:%d", port), controlToken, newHTTPClient(t)), cmd
}

func newHTTPClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// serve loads a source under a name and returns its client and description.
func serve(t testing.TB, server *rpc.Server, name, source string) (*rpc.Client, *rpc.Description) {
	t.Helper()
	return serveSpec(t, server, rpc.Spec{Name: name, Source: source})
}

func serveSpec(t testing.TB, server *rpc.Server, spec rpc.Spec) (*rpc.Client, *rpc.Description) {
	t.Helper()
	spec.Token = "token-of-" + spec.Name
	if spec.Filename == "" {
		spec.Filename = "interface.py"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	description, err := server.Load(ctx, spec, nil)
	require.NoError(t, err)
	return server.Client(spec.Name, spec.Token), description
}

// installLibrary writes a service's library into a new folder, which it returns.
func installLibrary(t testing.TB, description *rpc.Description) string {
	t.Helper()
	files, err := rpc.Library(description.Name, description.Functions)
	require.NoError(t, err)
	dir := t.TempDir()
	for path, content := range files {
		writeFile(t, filepath.Join(dir, description.Name, path), content)
	}
	return dir
}

// runPython runs a program with a service's library importable.
func runPython(t testing.TB, python, libraryDir string, env map[string]string, program string) string {
	t.Helper()
	cmd := exec.Command(python, "-")
	cmd.Stdin = strings.NewReader(program)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PYTHONPATH="+libraryDir, "PYTHONDONTWRITEBYTECODE=1")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	return string(out)
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func libraryEnv(server *rpc.Server, name string) map[string]string {
	return rpc.LibraryEnv(name, server.ServiceURL(name), "token-of-"+name)
}

func drain(r io.Reader) string {
	data, _ := io.ReadAll(r)
	return string(data)
}
