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
	cmd.Dir = filepath.Dir(program) // it finds its interface file from anywhere
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	for _, want := range []string{
		"similarity(a: str, b: str, *, measure: Literal['cosine', 'dot'] = 'cosine') -> float",
		"[0.9, 0.8, 0.1]",
		"man    0.74\n  queen  0.66\n  woman  0.24",
		"KeyError get_embedding: KeyError: 'xyzzy'",
		"False",
		"king and queen: 0.66",
		"server model_tools at http://127.0.0.1:",
	} {
		assert.Contains(t, string(out), want)
	}
}
