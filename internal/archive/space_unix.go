//go:build linux || darwin

package archive

import "syscall"

// space is what a directory's disk has, free for this user and in all; 0 = unknown.
func space(dir string) (free, total int64) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, 0
	}
	block := int64(stat.Bsize)                                    //nolint:unconvert // of another size on other systems
	return int64(stat.Bavail) * block, int64(stat.Blocks) * block //nolint:gosec // no disk has so many
}
