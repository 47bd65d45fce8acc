// Package guard runs programs of this machine of which nothing stays: neither
// when they end nor when the program that runs them is killed.
package guard
