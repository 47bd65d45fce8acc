//go:build !unix

package seer

import "io/fs"

// ownAlone relies on the user's own directories being the user's.
func ownAlone(fs.FileInfo) bool { return true }
