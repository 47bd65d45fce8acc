// Package guest is the first process of a sandbox, and the host's hold on it.
//
// The program executes itself again (package self), in namespaces of its own.
// That process attaches the mounts that come to it as descriptors, makes those
// of the kernel's file systems that show its own namespaces, sets up the
// network, gives up what it does not need and then serves the host over one
// socket: it starts processes, connects to ports and opens files, and passes
// descriptors out. It also reaps orphans, as the first process of a namespace
// must.
//
//	host program             holds the host's files, and nothing of the
//	     │                   sandbox but its ends of sockets and pipes
//	     ├── mounter          outside of every sandbox: the host's files; makes
//	     │                    mounts, copies trees (package mounter)
//	     └── first process    inside: the sandbox's root, its /proc, its devpts
//	           │              and /dev/null, by descriptor; nothing of the host
//	           ├── spawner    a thread with the rights of the sandbox's programs:
//	           │              looks commands up and starts them
//	           └── threads    likewise: look up what the host names of files
//
// # What the sandbox can see of it
//
// The process starts without the program's environment, with no file but its
// socket and a pipe for its last words, and is not dumpable, so programs of the
// sandbox, root among them, read neither its memory nor its executable, which
// is on a read-only mount besides. They are started by a thread that has given
// up the capabilities that would change this.
//
// # Paths
//
// Whatever the host names of a sandbox, a program of the sandbox may have put a
// link there. Package inroot looks all of it up, and a test holds that nothing
// here opens a path by name. What the kernel looks up itself, the program of a
// command and the interpreter its first line names, it looks up in the child,
// with the child's rights.
package guest
