//go:build linux

package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

const (
	queryTimeout = 5 * time.Second
	resolvConf   = "/etc/resolv.conf"
)

// serveDNS answers queries over UDP one by one, each with a socket of its own:
// a flow would hold one for a minute. DNS over TCP is like any connection.
func (n *Network) serveDNS() error {
	at := dnsAddr()
	listen := tcpip.FullAddress{NIC: nic, Addr: toTCPIP(at.Addr()), Port: at.Port()}
	conn, err := gonet.DialUDP(n.stack, &listen, nil, ipv4.ProtocolNumber)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	n.running.Add(1)
	go func() {
		defer n.running.Done()
		stop := context.AfterFunc(n.alive, func() { _ = conn.Close() })
		defer stop()
		n.answerQueries(conn)
	}()
	return nil
}

func (n *Network) answerQueries(conn *gonet.UDPConn) {
	buf := make([]byte, maxDatagram)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if !n.take(n.datagrams) {
			continue // the sandbox asks again
		}
		query := append([]byte(nil), buf[:size]...)
		n.running.Add(1)
		go func() {
			defer n.running.Done()
			defer n.free(n.datagrams)
			answer, err := n.resolve(query)
			if err != nil {
				n.log.Debug("resolve", slog.Any("cause", err))
				return
			}
			_, _ = conn.WriteTo(answer, from)
		}()
	}
}

// resolve passes one query to the host's resolver.
func (n *Network) resolve(query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(n.alive, queryTimeout)
	defer cancel()
	address, err := n.hostResolver()
	if err != nil {
		return nil, err
	}
	conn, err := n.dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	answer := make([]byte, maxDatagram)
	size, err := conn.Read(answer)
	return answer[:size], err
}

func (n *Network) hostResolver() (string, error) {
	if n.resolver != "" {
		return n.resolver, nil
	}
	return systemResolver(resolvConf)
}

// systemResolver returns the first name server of a resolv.conf, or the one
// that libc takes when there is none.
func systemResolver(path string) (address string, err error) {
	server := "127.0.0.1"
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return net.JoinHostPort(server, strconv.Itoa(dnsPort)), nil
	case err != nil:
		return "", fmt.Errorf("find resolver: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "nameserver" {
			server = fields[1]
			break
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("find resolver: %w", err)
	}
	return net.JoinHostPort(server, strconv.Itoa(dnsPort)), nil
}
