package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_EXAMPLE") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "RUN_EXAMPLE=1", "SEER_BACKEND=local")
	cmd.Stderr = os.Stderr
	cmd.Dir = filepath.Dir(program) // it finds its project from anywhere
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{
		"Summarises columns of numbers.",
		"a session in a sandbox, on local",
		"{'count': 3, 'sum': 8.0, 'mean': 2.6666666666666665}",
		"as shares: [0.12, 0.25, 0.62]",
		"FileNotFoundError: [Errno 2] No such file or directory: 'missing.csv'",
		`"Authorization":"Bearer ..."`,
		"name: \"averaging\"",
	} {
		assert.Contains(t, string(out), want)
	}
}
