//go:build !unix

package plainfile

// NonBlocking has no meaning here: there are no named pipes among files.
const NonBlocking = 0
