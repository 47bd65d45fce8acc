//go:build !linux

package jupyter

import (
	"context"
	"net"
)

func dialQuickAck(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, addr)
}
