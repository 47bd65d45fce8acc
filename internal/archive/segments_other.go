//go:build !linux

package archive

import "os"

// segments finds no holes here: they are copied as zeros.
func segments(*os.File, int64) []segment { return nil }
