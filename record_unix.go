//go:build unix

package seer

import (
	"io/fs"
	"os"
	"syscall"
)

// ownAlone reports whether nobody but this user may write there.
func ownAlone(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(stat.Uid) == int64(os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}
