package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalserver"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

func start(ctx context.Context, s settings) (*running, error) {
	if err := linux.Probe(ctx, s.dir); err != nil {
		return nil, err
	}
	hosts, err := parseHosts(s.allow)
	if err != nil {
		return nil, err
	}
	runtime, err := linux.New(linux.Config{Dir: s.dir, Logger: s.logger, AllowHosts: hosts, RegistryMirror: s.mirror})
	if err != nil {
		return nil, err
	}
	endpoint := seer.Endpoint{
		TokenID:      cmp.Or(s.tokenID, token("ak-")),
		TokenSecret:  cmp.Or(s.tokenSecret, token("as-")),
		PlainTunnels: true,
	}
	machine := describe()
	endpoint.NoGPU, endpoint.NoApt, endpoint.Pythons = machine.NoGPU, machine.NoApt, machine.Pythons
	server, err := modalserver.New(modalserver.Config{
		Runtime:        runtime,
		Listen:         s.listen,
		TunnelHost:     linux.TunnelHost,
		StateDir:       filepath.Join(s.dir, "server"),
		TokenID:        endpoint.TokenID,
		TokenSecret:    endpoint.TokenSecret,
		AdvertisedHost: s.advertise,
		Secrets:        s.secrets,
		Proxies:        s.proxies,
		Logger:         s.logger,
	})
	if err != nil {
		return nil, errors.Join(err, runtime.Close())
	}
	endpoint.ServerURL = server.URL()
	return &running{
		endpoint:    endpoint,
		certificate: server.Certificate(),
		close:       func() error { return errors.Join(server.Close(), runtime.Close()) },
	}, nil
}

// describe says what this machine has for sandboxes, without starting anything.
func describe() seer.Endpoint {
	pythons, apt := linux.Offers()
	return seer.Endpoint{NoGPU: true, NoApt: !apt, Pythons: pythons}
}

func parseHosts(addresses []string) ([]netip.AddrPort, error) {
	hosts := make([]netip.AddrPort, len(addresses))
	for i, address := range addresses {
		host, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, fmt.Errorf("AllowHost(%q): write an IP address and a port, such as 127.0.0.1:8080", address)
		}
		hosts[i] = host
	}
	return hosts, nil
}
