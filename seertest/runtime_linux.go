package seertest

import (
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/local"
)

// hostRuntime shares the state directory of package local, so that tests find
// its layers warm.
func hostRuntime(allow []string, logger *slog.Logger) (host runtime.Runtime, imageDir string, pythons []string, err error) {
	dir, err := local.StateDir()
	if err != nil {
		return nil, "", nil, err
	}
	hosts := make([]netip.AddrPort, len(allow))
	for i, address := range allow {
		if hosts[i], err = netip.ParseAddrPort(address); err != nil {
			return nil, "", nil, err
		}
	}
	started, err := linux.New(linux.Config{Dir: dir, Logger: logger, AllowHosts: hosts})
	if err != nil {
		return nil, "", nil, err
	}
	return started, filepath.Join(dir, "server"), started.Pythons(), nil
}
