// Package tree copies, merges and removes directory trees as they are: modes,
// owners, times, extended attributes, hard links and holes, and the marks by
// which an overlay file system says that something is gone.
package tree
