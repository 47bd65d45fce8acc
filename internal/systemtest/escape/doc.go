// Package escape attacks sandboxes of the local backend. It holds no code: its
// tests are the attempts of an agent to get out of its sandbox, each of which
// must fail.
//
// The attacker is root in one sandbox. It runs any code there (commands,
// sessions, served functions, tools of MCP servers), has read all of this
// repository, and waits for what the sandbox's owner does next: connect again,
// run a command, transfer files, save and restore. It owns nothing else: no
// process, file or token outside.
//
// An attempt gets out when it reads or changes a marker that the tests planted
// (a file of the owner, a variable of the owner's program, another sandbox),
// reaches the host's root directory or network, has the kernel do what no
// program of a sandbox needs, stops or blocks the owner's program, makes it
// grow beyond a bound, or hurts a neighbour.
//
// Attempts are grouped in families, a file each. Those in Python run inside by
// themselves, with agent.py before them; the others are played with the public
// API. What could end the program that owns the sandboxes is done to a program
// of its own, which is this test binary again.
package escape
