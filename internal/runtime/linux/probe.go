//go:build linux

package linux

func explain(err error, _ string) error { return err }
