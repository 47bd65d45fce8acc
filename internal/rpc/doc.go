// Package rpc serves functions of Python files to programs that may call
// those functions and do nothing else.
//
// Its server (Files, Settings) is one Python process on one port: services
// are told apart by path, each has its own bearer token and its own worker
// process. A Server value is the control side, which loads and removes
// services; a Client value is one service as its caller sees it. From a
// service's Description come its other faces: a Python library, a prompt, a
// skill, and the JSON Schemas of tools.
//
// The server needs a POSIX system and Python 3.9 or newer, nothing else. How
// it gets there, and how its port is reached, is the business of the caller.
package rpc
