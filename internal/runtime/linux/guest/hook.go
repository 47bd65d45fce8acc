//go:build linux

package guest

import (
	"net"
	"os"

	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// processName is the first argument of the first process of a sandbox.
const processName = "seer-sandbox"

func init() {
	if os.Getpid() == 1 {
		self.Main(processName, serve)
	}
}

// serve serves the host until it is gone.
func serve(control *net.UnixConn) error {
	if err := deafen(); err != nil {
		return err
	}
	a, err := boot(control)
	if err != nil {
		return err
	}
	return a.serve(control)
}
