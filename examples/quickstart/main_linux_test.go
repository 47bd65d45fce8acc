package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuickstart runs the program as `go run ./examples/quickstart` does.
func TestQuickstart(t *testing.T) {
	t.Setenv("SEER_BACKEND", "local")
	require.NoError(t, run(t.Context()))
}
