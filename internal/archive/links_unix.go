//go:build unix

package archive

import (
	"io/fs"
	"syscall"
)

// fileID tells files apart whatever their names.
type fileID struct{ device, inode uint64 }

// identify returns a file's identity, and whether it has several names.
func identify(info fs.FileInfo) (fileID, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink < 2 {
		return fileID{}, false
	}
	return fileID{device: uint64(stat.Dev), inode: stat.Ino}, true //nolint:unconvert // Dev is signed on some systems
}
