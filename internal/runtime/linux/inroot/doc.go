// Package inroot resolves the paths of a sandbox. Whatever lies in the sandbox,
// a link to anywhere included, a path ends below the sandbox's root: the kernel
// looks it up from a descriptor of that root, follows no link of /proc that
// leads to a process's files, and everything from then on is by descriptor.
//
// Files are regular ones and directories. A pipe, socket or device is refused,
// so no call waits for what a program of the sandbox may never do.
package inroot
