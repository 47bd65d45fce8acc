// Package hosts holds tests that start a sandbox on machines of many shapes:
// each is made of this one, in a mount namespace of the test's own, and either
// runs the sandbox or names what is in the way.
package hosts
