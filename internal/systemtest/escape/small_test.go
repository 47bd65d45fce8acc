//go:build linux

package escape_test

import (
	"errors"
	"os"
)

// outcomeOf is the first error as what got out.
func outcomeOf(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}

// countOpen counts this program's descriptors.
func countOpen() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
