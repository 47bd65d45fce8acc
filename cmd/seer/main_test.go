package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests; none of them takes that long.
const patience = 90 * time.Second

// binary is the command, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(withBinary(m.Run)) }

func withBinary(tests func() int) int {
	dir, err := os.MkdirTemp("", "seer-cmd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
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
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
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
	} {
		r := invoke(t, nil, args...)
		assert.Equal(t, exitUsage, r.code, "%v: %s", args, r.stderr)
		assert.Contains(t, r.stderr, "seer: ")
		assert.Empty(t, r.stdout)
	}
}
