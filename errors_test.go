package seer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorTexts(t *testing.T) {
	var log strings.Builder
	for i := range 100 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	for want, err := range map[string]error{
		"exit status 3":                                             &ExitError{Code: 3},
		"bash: exit status 1\n    boom":                             &ExitError{Command: "bash", Code: 1, Stdout: "out\n", Stderr: "boom\n\n"},
		"exit status 1\n    a\n    b":                               &ExitError{Code: 1, Stdout: "a\r\nb"},
		"killed by SIGKILL":                                         &ExitError{Code: 137, Signal: 9},
		"killed by signal 34":                                       &ExitError{Code: 162, Signal: 34},
		"exec: timed out after 1m30s":                               &TimeoutError{Op: "exec", After: 90 * time.Second, Err: context.DeadlineExceeded},
		"wait: timed out: EOF":                                      &TimeoutError{Op: "wait", Err: io.EOF},
		"start sandbox: build image: EOF":                           &StartError{Step: "build image", Err: io.EOF},
		"build image: Python packages failed:\n    no such package": &BuildError{Layer: "Python packages", Log: "no such package\n", Err: io.EOF},
		"invalid config: GPU: what":                                 &ConfigError{Problems: []Problem{{Field: "GPU", Message: "what"}}},
		"invalid config: c.yaml: what":                              &ConfigError{File: "c.yaml", Problems: []Problem{{Message: "what"}}},
	} {
		assert.Equal(t, want, strings.ReplaceAll(err.Error(), "\r", ""))
	}
	text := (&BuildError{Layer: "x", Log: log.String()}).Error()
	assert.NotContains(t, text, "line 79\n")
	assert.Contains(t, text, "line 80\n")
	assert.True(t, strings.HasSuffix(text, "line 99"))
}

func TestErrorsMatch(t *testing.T) {
	err := error(&StartError{Step: "wait", Err: &TimeoutError{Op: "wait", Err: ErrSandboxLost}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, ErrSandboxLost)
	var timeout interface{ Timeout() bool }
	require.True(t, errors.As(err, &timeout))
	assert.True(t, timeout.Timeout())

	for _, way := range []string{"MODAL_TOKEN_ID", `import _ "github.com/ajobi-uhc/seer-go/local"`, "SEER_BACKEND"} {
		assert.ErrorContains(t, ErrNoBackend, way)
	}
}
