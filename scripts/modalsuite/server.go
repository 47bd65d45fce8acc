//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// server is a running `seer local serve`.
type server struct {
	cmd     *exec.Cmd
	environ []string
	log     bytes.Buffer // until stop, the child writes to it
}

// startServer starts a server with all that the suites expect to exist.
func startServer(ctx context.Context, binary, dir, mirror string) (*server, error) {
	secret := filepath.Join(dir, "secret.env")
	if err := os.WriteFile(secret, []byte("a=1\nb=2\nc='hello world'\n"), 0o600); err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, binary, "local", "serve",
		"--dir", filepath.Join(dir, "state"),
		"--registry-mirror", mirror,
		"--secret", "libmodal-test-secret="+secret,
		"--proxy", "libmodal-test-proxy",
		"--advertise", strings.ToLower(rand.Text())+".modal.host:443",
	)}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	s.cmd.WaitDelay = time.Minute
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stdout)
	for len(s.environ) < 3 && lines.Scan() {
		s.environ = append(s.environ, strings.TrimPrefix(lines.Text(), "export "))
	}
	if len(s.environ) < 3 {
		return nil, fmt.Errorf("start server: %w\n%s", s.cmd.Wait(), &s.log)
	}
	return s, nil
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("stop server: %w\n%s", err, &s.log)
	}
	return nil
}
