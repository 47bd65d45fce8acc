// Package self executes the program itself again, as a process of another
// kind, and talks to it: the first process of a sandbox and the one that makes
// mounts are such processes.
//
// Main, called while packages are initialised, finds the marks that only Start
// leaves and never returns then: no environment but what Start gives, one
// argument, and a socket as the fourth descriptor.
//
// The host opens a conversation by sending one end of a fresh socket pair
// through that socket. A conversation is one request, with descriptors, and its
// answers. When the host's end of the first socket closes, because the program
// ended or was killed, the process exits.
package self
