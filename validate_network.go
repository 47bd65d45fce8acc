package seer

import (
	"net/netip"
	"strconv"
)

const maxPort = 65535

// ports checks every port that the sandbox will open, and that no two things
// share one: a service must never be taken for another that answers there.
func (v *validator) ports() {
	c, full := v.config, v.config.withDefaults()
	users := make(map[int]string) // field by port
	for _, service := range []struct {
		field string
		asked int // by the config
		port  int
		runs  bool
	}{
		{"JupyterPort", c.JupyterPort, full.JupyterPort, !c.BlockNetwork},
		{"RPCPort", c.RPCPort, full.RPCPort, v.env.scoped},
		{"DebugPort", c.DebugPort, full.DebugPort, c.Debug},
	} {
		if service.asked != 0 || service.runs {
			v.port(service.field, service.port, users)
		}
	}
	for i, port := range c.EncryptedPorts {
		v.port(at("EncryptedPorts", i), port, users)
	}
}

func (v *validator) port(field string, port int, users map[int]string) {
	if port < 1 || port > maxPort {
		v.problem(field, strconv.Itoa(port), "a port is a number from 1 to 65535")
		return
	}
	if other := users[port]; other != "" {
		v.problem(field, strconv.Itoa(port), "%s is the same port; give each its own", other)
		return
	}
	users[port] = field
}

func (v *validator) network() {
	c := v.config
	if c.BlockNetwork {
		if len(c.EncryptedPorts) > 0 {
			v.problem("BlockNetwork", "true", "EncryptedPorts cannot be reached with the network blocked; remove one of the two")
		}
		if c.Debug {
			v.problem("BlockNetwork", "true", "VS Code of Debug cannot be reached with the network blocked; remove one of the two")
		}
		if len(c.CIDRAllowlist) > 0 {
			v.problem("BlockNetwork", "true", "CIDRAllowlist allows what this blocks; remove one of the two")
		}
	}
	for i, cidr := range c.CIDRAllowlist {
		v.cidr(at("CIDRAllowlist", i), cidr)
	}
}

func (v *validator) cidr(field, text string) {
	if addr, err := netip.ParseAddr(text); err == nil {
		v.problem(field, quoted(text), "write a network with its length; for this address alone, %q", netip.PrefixFrom(addr, addr.BitLen()).String())
		return
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		v.problem(field, quoted(text), "write a network such as \"203.0.113.0/24\"")
	case prefix != prefix.Masked():
		v.problem(field, quoted(text), "has bits set beyond its length; write %q", prefix.Masked().String())
	}
}
