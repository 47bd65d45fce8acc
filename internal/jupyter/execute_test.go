package jupyter_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExecute(t *testing.T) {
	server, _ := connect(t)
	kernel := start(t, server)
	require.Equal(t, "hello\n42", run(t, kernel, "print('hello')\n42"))
}
