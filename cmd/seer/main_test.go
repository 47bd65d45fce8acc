package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests. What takes longest is a notebook's
// packages: on a new machine its first start installs them.
const patience = 2 * time.Minute

// binary is the command, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(withBinary(m.Run)) }

func withBinary(tests func() int) int {
	dir, err := os.MkdirTemp("", "seer-cmd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "seer")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build seer:", err)
		return 1
	}
	return tests()
}

// result is how one run of the command went.
type result struct {
	code           int
	stdout, stderr string
}

// invoke runs the command with more environment.
func invoke(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(cleanEnviron(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "seer %v took too long:\n%s", args, stderr.String())
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// cleanEnviron leaves out what would send the command elsewhere.
func cleanEnviron() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "SEER_HOME=" + os.Getenv("SEER_HOME"),
		"SYSTEMROOT=" + os.Getenv("SYSTEMROOT"), "MODAL_CONFIG_PATH=" + filepath.Join(filepath.Dir(binary), "no-such-file"),
	}
}

func TestVersion(t *testing.T) {
	r := invoke(t, nil, "version")
	assert.Zero(t, r.code)
	assert.Regexp(t, `^seer \S+ \(go1\.\S+ \w+/\w+\)\n$`, r.stdout)
}

func TestWhatIsWrongWithTheCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"version", "more"},
		{"version", "--no-such-flag"},
		{"no-such-command"},
		{"local", "no-such-command"},
		{"exec"},
	} {
		r := invoke(t, nil, args...)
		assert.Regexp(t, `(; write: seer \w|; see seer.* --help\n$)`, r.stderr)
		assert.Equal(t, exitUsage, r.code, "%v: %s", args, r.stderr)
		assert.Contains(t, r.stderr, "seer: ")
		assert.Empty(t, r.stdout)
	}
}

func TestExitStatusesOfBadInput(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("timeout: 30h\n"), 0o600))
	empty := filepath.Join(dir, "empty.json")
	require.NoError(t, os.WriteFile(empty, []byte("{}"), 0o600))
	for args, want := range map[string]int{
		"up":                               exitUsage,
		"exec sb-0":                        exitUsage,
		"rm":                               exitUsage,
		"rm sb-0 --all":                    exitUsage,
		"cp a b":                           exitUsage,
		"ps --tag nonsense":                exitUsage,
		"sh sb-0":                          exitUsage,
		"mcp":                              exitUsage,
		"mcp --sandbox sb-0 --manage":      exitUsage,
		"mcp --manage --uploads .":         exitUsage,
		"mcp --sandbox sb-0 --tag a=b":     exitUsage,
		"mcp --manage --timeout 0s":        exitUsage,
		"mcp --manage":                     exitUnauthorized,
		"plan " + bad:                      exitConfig,
		"plan " + bad + "-not":             exitConfig,
		"restore " + bad:                   exitConfig,
		"restore " + empty:                 exitConfig,
		"up -f " + bad:                     exitUnauthorized,
		"ps":                               exitUnauthorized,
		"completion bash":                  0,
		"plan testdata/config.yaml":        0,
		"plan --json testdata/config.yaml": 0,
	} {
		r := invoke(t, nil, strings.Fields(args)...)
		assert.Equal(t, want, r.code, "seer %s: %s", args, r.stderr)
	}
}

func TestWithoutAServerTheCommandSaysHowToGetOne(t *testing.T) {
	r := invoke(t, nil, "ps")
	assert.Contains(t, r.stderr, "seer local serve")
	r = invoke(t, []string{"SEER_BACKEND=local", "MODAL_TOKEN_ID=ak-x", "MODAL_TOKEN_SECRET=as-x"}, "ps")
	assert.Equal(t, exitUnauthorized, r.code)
	assert.Contains(t, r.stderr, "seer local serve")
	r = invoke(t, []string{"SEER_BACKEND=cloud"}, "ps")
	assert.Equal(t, exitUsage, r.code)
	assert.Contains(t, r.stderr, "write auto, modal or local")
}
