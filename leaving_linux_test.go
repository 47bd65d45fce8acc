package seer_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter/jupytertest"
)

// TestNothingOutlivesItsProgram ends a program that has a session of each kind
// as others end it, and looks for what is left.
func TestNothingOutlivesItsProgram(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"terminated": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			mark := rand.Text()
			program := exec.CommandContext(t.Context(), os.Args[0])
			program.Env = append(os.Environ(), leavingMark+"="+mark, leavingPython+"="+jupytertest.Python(t), leavingDir+"="+t.TempDir())
			stdout, err := program.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, program.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "ready\n", line)
			for kind := range leavings {
				require.NotEmpty(t, marked(t, mark+kind), "what the %s session has started is seen", kind)
			}

			require.NoError(t, program.Process.Signal(signal))
			_ = program.Wait() // killed
			ended := time.Now()
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				assert.Empty(c, marked(t, mark))
			}, time.Minute, 10*time.Millisecond)
			t.Logf("everything had ended %v later", time.Since(ended))
		})
	}
}

// marked are the command lines of the processes that have a text in their environment.
func marked(t *testing.T, mark string) map[string]string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	found := map[string]string{}
	for _, path := range environs {
		environ, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environ, []byte(mark)) {
			continue // ended, or hidden
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")) // it may have ended
		command = bytes.ReplaceAll(command, []byte{0}, []byte{' '})
		found[path] = string(command[:min(len(command), 120)])
	}
	return found
}
