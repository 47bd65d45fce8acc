// Package longtest tells tests whether they may take long. What takes long and
// has something quicker beside it runs where the variable SEER_TEST_LONG is set.
package longtest

import (
	"os"
	"testing"
)

// Wanted is whether tests may take long.
func Wanted() bool { return os.Getenv("SEER_TEST_LONG") != "" }

// Only skips a test that takes long, unless it may.
func Only(tb testing.TB) {
	tb.Helper()
	if !Wanted() {
		tb.Skip("it takes long; SEER_TEST_LONG=1 runs it")
	}
}
