// Package jupyter is a client of an unmodified Jupyter server and of the
// notebook file format.
//
// [Connect] proves that the server at an address is a Jupyter server that
// knows our token and refuses everybody else. [Server.StartKernel],
// [Server.OpenNotebook] and [Server.Attach] give a [Kernel], whose
// [Kernel.Execute] runs one cell and reports its outputs while they appear.
// [Notebook] is the document they belong in, and a [Saver] keeps a copy of it
// on a disk somewhere.
//
// All types may be used from several goroutines unless they say otherwise.
package jupyter
