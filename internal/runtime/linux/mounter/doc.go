// Package mounter is the process that makes the mounts of sandboxes and copies
// their trees, and the host's hold on it.
//
// It is the program, executed again, one for all sandboxes and outside all of
// them: in the host's PID namespace, where no sandbox sees it, with a mount
// namespace of its own and, for an unprivileged user, a user namespace that
// gives the right to mount. What it makes belongs nowhere: a mount leaves it as
// a descriptor, which the first process of a sandbox attaches. So nothing
// inside a sandbox ever has the host's root or a file of the host.
//
//	host program ──"mount these"──▶ mounter
//	     │       ◀──descriptors───     │ sees the host's files
//	     │                             ▼
//	     ├──descriptors──▶ first process of a sandbox: attaches them,
//	     │                 makes proc, sysfs, devpts and the like itself
//	     └──two directories──▶ mounter: copies one into the other
//
// Sandboxes are executed from what Program returns: a read-only mount of the
// program, so that a sandbox that gets hold of it can change nothing.
package mounter
