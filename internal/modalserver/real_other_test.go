//go:build !linux

package modalserver

func removeRealDir() error { return nil }
