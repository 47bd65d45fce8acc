package seertest

import (
	"log/slog"
	"net/netip"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/local"
)

// tunnelHost is where sandboxes reach each other's tunnels.
const tunnelHost = linux.TunnelHost

// hostRuntime shares the state directory of package local, so that tests find
// its layers warm.
func hostRuntime(allow []string, logger *slog.Logger) (host runtime.Runtime, imageDir string, err error) {
	dir, err := local.StateDir()
	if err != nil {
		return nil, "", err
	}
	hosts := make([]netip.AddrPort, len(allow))
	for i, address := range allow {
		if hosts[i], err = netip.ParseAddrPort(address); err != nil {
			return nil, "", err
		}
	}
	started, err := linux.New(linux.Config{Dir: dir, Logger: logger, AllowHosts: hosts})
	if err != nil {
		return nil, "", err
	}
	return started, filepath.Join(dir, "server"), nil
}

func hostMachine() seer.Endpoint {
	pythons, apt := linux.Offers()
	return seer.Endpoint{Pythons: pythons, NoApt: !apt}
}
