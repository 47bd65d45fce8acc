//go:build !unix

package jupytertest

import "os"

func terminate(p *os.Process) error { return p.Kill() }
