//go:build linux

package escape_test

import (
	"errors"
)

// outcomeOf is the first error as what got out.
func outcomeOf(errs ...error) string {
	if err := errors.Join(errs...); err != nil {
		return err.Error()
	}
	return ""
}
