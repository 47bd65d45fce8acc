// Package guest is the first process of a sandbox, and the host's hold on it.
//
// The program executes itself again, in namespaces of its own: the package's
// init function finds the marks that only Start leaves and never returns. That
// process mounts the root file system, sets up the network, gives up what it
// does not need and then serves the host over one socket: it starts processes,
// connects to ports, opens files and copies trees, and passes descriptors out.
// It also reaps orphans, as the first process of a namespace must.
//
// # What the sandbox can see of it
//
// The process starts with an empty environment, no descriptor but its socket
// and three ends of /dev/null and a pipe, and is not dumpable, so programs of
// the sandbox, root among them, read neither its memory nor its executable.
// They are started by a thread that has given up the capabilities that would
// change this.
//
// # The socket
//
// The host opens a conversation by sending one end of a fresh socket pair. A
// conversation is one request, with descriptors, and its answers. When the
// host's end of the first socket closes, because the program ended or was
// killed, the process exits and the kernel ends the whole sandbox.
package guest
