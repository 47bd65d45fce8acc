//go:build linux

package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

// floodScript serves floodSize bytes to whoever sends one.
//
//go:embed flood.py
var floodScript string

const (
	floodSize = 256 << 20
	floodPort = "9000"
)

// forwarding compares bytes through a tunnel into a sandbox with bytes over
// loopback, from the same program.
func forwarding(ctx context.Context, b *bench) error {
	_, sandbox, err := b.realSandbox(ctx, seer.SandboxConfig{EncryptedPorts: []int{9000}})
	if err != nil {
		return err
	}
	inside := sandbox.Command("python", "-c", floodScript, floodPort)
	ready, stdout := io.Pipe()
	inside.Stdout = stdout
	if err := inside.Start(ctx); err != nil {
		return err
	}
	b.later(func() error {
		err := inside.Kill()
		_ = inside.Wait() // it was killed
		return err
	})
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		return err
	}
	address, err := sandbox.URL(ctx, 9000)
	if err != nil {
		return err
	}
	tunnel, err := url.Parse(address)
	if err != nil {
		return err
	}
	outside, err := floodHere(ctx, b)
	if err != nil {
		return err
	}
	return b.versus(ctx, max(b.runs/3, 3), "256 MiB from a port", "2.5",
		drain("tunnel", tunnel.Host), drain("loopback", outside))
}

// floodHere runs the program on this machine and returns its address.
func floodHere(ctx context.Context, b *bench) (string, error) {
	cmd := exec.CommandContext(ctx, "python3", "-c", floodScript, "0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	b.later(func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return err
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	return net.JoinHostPort("127.0.0.1", strings.TrimSpace(port)), err
}

func drain(name, address string) side {
	return side{name: name, run: func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("\n")); err != nil {
			return 0, err
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 1<<20))
		if err == nil && n != floodSize {
			err = errors.New("connection ended early")
		}
		return time.Since(start), err
	}}
}
