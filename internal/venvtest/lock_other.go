//go:build !unix

package venvtest

// lock does nothing: test binaries that begin at the same moment on a new
// machine of this kind may get in each other's way once.
func lock(string) (unlock func(), err error) { return func() {}, nil }
