// Package linux runs sandboxes as isolated processes of this machine: in
// namespaces of their own, on an overlay of the host's root file system or of a
// pulled image, with a network that ends in this process. It needs no daemon
// and no root.
//
// A program that imports it executes itself again: as the first process of each
// sandbox, see package guest, and once as the process that makes their mounts,
// see package mounter.
package linux
