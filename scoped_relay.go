package seer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
)

// relay is a loopback port of this program that leads to a port inside a
// sandbox of which no port is open.
type relay struct {
	url      string
	listener net.Listener
	dial     func(ctx context.Context) (net.Conn, error)
	logger   *slog.Logger
	life     context.Context //nolint:containedctx // the life of all connections, ended by close
	end      context.CancelFunc
	tasks    sync.WaitGroup
}

func openRelay(ctx context.Context, logger *slog.Logger, dial func(ctx context.Context) (net.Conn, error)) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{url: "http://" + listener.Addr().String(), listener: listener, dial: dial, logger: logger}
	r.life, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.tasks.Go(r.accept)
	return r, nil
}

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				r.logger.Error("accept connection for the sandbox", "error", err)
			}
			return
		}
		r.tasks.Go(func() { r.join(near) })
	}
}

func (r *relay) join(near net.Conn) {
	defer near.Close()
	far, err := r.dial(r.life)
	if err != nil {
		r.logger.Debug("reach port inside the sandbox", "error", err)
		return
	}
	defer far.Close()
	stop := context.AfterFunc(r.life, func() {
		_ = near.Close() // ends both copies
		_ = far.Close()
	})
	defer stop()
	var copies sync.WaitGroup
	for _, way := range []struct{ to, from net.Conn }{{near, far}, {far, near}} {
		copies.Go(func() {
			_, _ = io.Copy(way.to, way.from) // either side may hang up
			_ = way.to.Close()
			_ = way.from.Close()
		})
	}
	copies.Wait()
}

// close ends all connections, and waits.
func (r *relay) close() {
	_ = r.listener.Close()
	r.end()
	r.tasks.Wait()
}
