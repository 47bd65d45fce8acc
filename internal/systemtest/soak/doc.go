// Package soak holds tests that run everything a program can do with
// sandboxes many times, and look for what is left of it: a program that lives
// for weeks keeps nothing of what is over.
package soak
