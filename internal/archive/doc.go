// Package archive moves file trees as tar streams between this machine and
// places that are not to be trusted.
package archive
